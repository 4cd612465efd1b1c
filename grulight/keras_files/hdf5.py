"""Groups and arrays of an HDF5 file that nobody vouches for, from its bytes.

What is refused, and why: KERAS_FACTS section 3. External and soft links, external storage and
virtual arrays read other files (CVE-2026-1669); a declared size beyond the bytes that are there
takes all memory (CVE-2026-0897, CVE-2026-12570). What Keras never writes (chunks, compression,
groups kept in heaps) is refused too: it would only be read to be attacked.
Layout: HDF5 file format specification, III.A (trees of names), III.D (their heap), IV.A.2.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.keras_files.headers import (
    EXTERNAL,
    FILTERS,
    LAYOUT,
    LINK,
    LINK_INFO,
    SPACE,
    SYMBOLS,
    TYPE,
    UNDEFINED,
    Headers,
    Messages,
    damaged,
    number,
)
from grulight.keras_files.plain import quote
from grulight.keras_files.storage import dtype_of, place_of, shape_of

MAX_DEPTH = 64
MAX_OBJECTS = 100_000
MAX_NAME = 64 << 10


@dataclass(frozen=True)
class Stored:
    """An array that lies checked but unread in the file.

    Attributes:
        name: Its path in the file, for messages.
        shape: The declared shape; the file holds that many bytes.
        dtype: Its type, None where it holds no floats.
        start: Where its bytes begin.
        content: What they lie in, mostly the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    start: int
    content: bytes = field(repr=False)

    def read(self) -> NDArray[np.floating[Any]]:
        """Return the array, read-only and without a copy where the machine's byte order allows."""
        if self.dtype is None:
            raise InputError(
                f"array {quote(self.name)} holds no floats, expected float16, 32 or 64. Refused: "
                "weights are real numbers."
            )
        count = math.prod(self.shape)
        flat = np.frombuffer(self.content, self.dtype, count, self.start if count else 0)
        return np.asarray(flat, self.dtype.newbyteorder("=")).reshape(self.shape)


@dataclass(frozen=True)
class Tree:
    """Everything below one group, by path with forward slashes; groups by their address."""

    groups: dict[str, int] = field(default_factory=dict)
    arrays: dict[str, Stored] = field(default_factory=dict)


def walk(headers: Headers, tops: dict[str, int]) -> Tree:
    """List everything at and below some objects.

    Args:
        headers: The file.
        tops: Where the objects are, by name.

    Raises:
        InputError: A link that is not hard, an object met twice, storage elsewhere, too much.
    """
    tree = Tree()
    seen: set[int] = set()
    budget = len(headers.content)
    queue: list[tuple[str, int]] = []
    _enqueue(queue, seen, "", tops)
    while queue:
        name, address = queue.pop()
        path = _checked_path(name)
        if path in tree.groups or path in tree.arrays:
            raise InputError(f"two objects are called {quote(path)}. Refused as ambiguous.")
        messages = headers.messages(address)
        if any(kind == LAYOUT for kind, _ in messages):
            tree.arrays[path] = stored = _array(headers, messages, path)
            budget -= math.prod(stored.shape) * (stored.dtype.itemsize if stored.dtype else 1)
            if budget < 0:
                raise InputError("the arrays declare more bytes than the file holds. Refused.")
        else:
            tree.groups[path] = address
            _enqueue(queue, seen, f"{path}/", members(headers, address, path))
    return tree


def _enqueue(
    queue: list[tuple[str, int]], seen: set[int], prefix: str, links: dict[str, int]
) -> None:
    """Add objects to those to look at; each may be met once."""
    for name, address in links.items():
        path = prefix + name
        if address in seen or len(seen) >= MAX_OBJECTS or path.count("/") > MAX_DEPTH:
            raise InputError(
                f"{quote(path)} is linked twice, too deep, or one object too many. Refused: "
                "Keras writes plain trees."
            )
        seen.add(address)
        queue.append((path, address))


def members(headers: Headers, address: int, path: str = "") -> dict[str, int]:
    """Return the addresses of the objects in a group by name, all of which must be hard links."""
    found: dict[str, int] = {}
    messages = headers.messages(address)
    if not any(kind in (SYMBOLS, LINK, LINK_INFO) for kind, _ in messages):
        raise InputError(f"{quote(path)} is neither a group nor an array. Refused.")
    for name, at, kind in _links(headers, messages):
        full = f"{path}/{name}" if path else name
        if kind != "HardLink":
            raise InputError(
                f"{quote(full)} is a {kind}. Refused: it may point outside the file, and Keras "
                "writes none."
            )
        if name in found or len(found) >= MAX_OBJECTS:
            raise InputError(f"group {quote(path)} has {quote(name)} twice, or too many members.")
        found[name] = at
    return found


def _links(headers: Headers, messages: Messages) -> Iterator[tuple[str, int, str]]:
    """Yield name, address and kind of every link of a group."""
    for kind, body in messages:
        if kind == SYMBOLS:
            yield from _symbols(headers, number(body[:8]), number(body[8:16]))
        elif kind == LINK:
            yield _link(body)
        elif kind == LINK_INFO:
            at = 2 + 8 * (body[1] & 1) if len(body) > 1 else 0
            if len(body) < at + 8 or number(body[at : at + 8]) != UNDEFINED:
                raise InputError(
                    "a group keeps its names in a heap, which Keras never does. Refused: open and "
                    "save the file with plain h5py."
                )


def _symbols(headers: Headers, tree: int, heap: int) -> Iterator[tuple[str, int, str]]:
    """Yield the links that a tree of names leads to."""
    if headers.slice(heap, 32)[:4] != b"HEAP":
        raise damaged("names without a heap")
    size, names = headers.integer(heap + 8, 8), headers.integer(heap + 24, 8)
    seen: set[int] = set()
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if node in seen or len(seen) > MAX_OBJECTS:
            raise damaged("a tree of names leads back to itself")
        seen.add(node)
        head = headers.slice(node, 8)
        count = number(head[6:8])
        if head[:4] == b"TREE" and head[4] == 0:
            children = headers.slice(node + 24, 16 * count + 8)
            nodes += [number(children[16 * i + 8 : 16 * i + 16]) for i in range(count)]
        elif head[:4] == b"SNOD":
            entries = headers.slice(node + 8, 40 * count)
            for at in range(0, 40 * count, 40):
                name = _name(headers, names, size, number(entries[at : at + 8]))
                kind = number(entries[at + 16 : at + 20])
                address = number(entries[at + 8 : at + 16])
                yield name, address, "SoftLink" if kind == 2 else "HardLink"
        else:
            raise damaged("a tree of names without names")


def _name(headers: Headers, names: int, size: int, offset: int) -> str:
    if offset >= size:
        raise damaged("a name outside its heap")
    raw = headers.slice(names + offset, min(size - offset, MAX_NAME))
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _link(body: bytes) -> tuple[str, int, str]:
    """Return name, address and kind of a link that is kept in its group's header."""
    flags = body[1] if len(body) > 1 else 0
    at = 2
    kind = body[at] if flags & 8 and len(body) > at else 0
    at += bool(flags & 8) + 8 * bool(flags & 4) + bool(flags & 16)
    width = 1 << (flags & 3)
    length = number(body[at : at + width])
    name = body[at + width : at + width + length]
    target = body[at + width + length :][:8]
    if body[:1] != b"\1" or len(name) < length or (kind == 0 and len(target) < 8):
        raise damaged("a link is cut off")
    words = {0: "HardLink", 1: "SoftLink", 64: "ExternalLink"}
    return name.decode("utf-8", "backslashreplace"), number(target), words.get(kind, "user's link")


def _checked_path(path: str) -> str:
    normal = path.replace("\\", "/")  # what Keras 2.15 on Windows wrote into group names
    if any(part in ("", ".", "..") for part in normal.split("/")):
        raise InputError(f"path {quote(path)} has empty or dotted parts. Refused.")
    return normal


def _array(headers: Headers, messages: Messages, path: str) -> Stored:
    """Return an array after all checks."""
    held = dict(messages)
    if EXTERNAL in held:
        fault = "keeps its bytes in another file (external storage)"
    elif FILTERS in held:
        fault = "is compressed, which Keras never does (h5repack -f NONE IN OUT undoes it)"
    elif not {SPACE, TYPE, LAYOUT} <= held.keys():
        fault = "has no shape or no type"
    else:
        shape = shape_of(held[SPACE])
        dtype, size = dtype_of(held[TYPE])
        place = place_of(headers, held[LAYOUT])
        if isinstance(place, str):
            fault = place
        elif shape is None or size == 0:
            fault = "holds objects instead of numbers"
        elif math.prod(shape) * size > place.length:
            fault = f"declares shape {shape} but holds {place.length} bytes"
        else:
            return Stored(path, shape, dtype, place.start, place.content)
    raise InputError(f"array {quote(path)} {fault}. Refused.")
