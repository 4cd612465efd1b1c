"""Groups and arrays of an HDF5 file that nobody vouches for, from its bytes.

What is refused, and why: KERAS_FACTS section 3. External and soft links, external storage and
virtual arrays read other files (CVE-2026-1669); a declared size beyond the bytes that are there
takes all memory (CVE-2026-0897, CVE-2026-12570). Chunks, gzip and heaps are read: Keras writes
none, but people repack files and h5py's `libver="latest"` and `track_order` do.
Layout: HDF5 file format specification, III.A (trees of names), III.D (their heap), IV.A.2.
Why not pyfive: version 1.3.0 behind a guard of 287 lines failed 53 of 242 tests (49: chunks in
layout 4, which `libver="latest"` writes) and took 2.5 to 3.4 times as long for 5 files of 6. It
parses headers, names, attributes and chunks before a guard can look: 1.7 GB for 2 MB of names over
each other, 1.4 GB for 11 MB of empty messages, 2 GB for 5 kB that claim many texts, 3.2 GB for a
chunk of 7 MB. It takes bfloat16 for float16, and two links or attributes of one name for one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.keras_files.reader.chunks import Chunked
from grulight.keras_files.reader.headers import (
    EXTERNAL,
    LAYOUT,
    LINK,
    LINK_INFO,
    SPACE,
    SYMBOLS,
    TYPE,
    Headers,
    Messages,
    damaged,
    number,
)
from grulight.keras_files.reader.heaps import LINK_RECORDS, heap_objects
from grulight.keras_files.reader.storage import (
    Place,
    Unwritten,
    dtype_of,
    fill_value,
    place_of,
    shape_of,
)
from grulight.keras_files.reader.untrusted_text import quote

MAX_DEPTH = 64
MAX_OBJECTS = 100_000
MAX_NAME = 64 << 10
OBJECT = 512  # bytes of memory that what is noted of an object takes beside its path
CHUNK = 128  # as many bytes of growth a chunk counts at least: it may hold next to nothing
MAX_GROWTH = 24 << 20  # bytes that packed and unwritten arrays may have beyond the file's


@dataclass(frozen=True)
class Stored:
    """An array that lies checked but unread in the file.

    Attributes:
        name: Its path in the file, for messages.
        shape: The declared shape; the file holds that many bytes.
        dtype: Its type, None where it holds no floats.
        place: Where its bytes are.
        fill: What elements hold that were never written.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    place: Place | Chunked | Unwritten = field(repr=False)
    fill: bytes

    @property
    def size(self) -> int:
        """Bytes of the array, with those of chunks that stick out."""
        if isinstance(self.place, Chunked):
            return self.place.size
        return math.prod(self.shape) * (self.dtype.itemsize if self.dtype else 1)

    def read(self) -> NDArray[np.floating[Any]]:
        """Return the array; read-only and without a copy where it lies in one piece."""
        if self.dtype is None:
            raise InputError(
                f"array {quote(self.name)} holds no floats, expected float16, 32 or 64. Refused: "
                "weights are real numbers."
            )
        count = math.prod(self.shape)
        if isinstance(self.place, Place):
            flat = np.frombuffer(
                self.place.content, self.dtype, count, self.place.start * (count > 0)
            )
            found = flat.reshape(self.shape)
        else:
            found = np.full(self.shape, np.frombuffer(self.fill, self.dtype)[0], self.dtype)
        if isinstance(self.place, Chunked):
            self.place.fill(found)
        return np.asarray(found, self.dtype.newbyteorder("="))


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
    spare = len(headers.content) + MAX_GROWTH  # for what takes less room in the file
    budget = len(headers.content)
    queue: list[tuple[str, int]] = []
    _enqueue(headers, queue, seen, "", tops)
    while queue:
        name, address = queue.pop()
        path = _checked_path(name)
        if path in tree.groups or path in tree.arrays:
            raise InputError(f"two objects are called {quote(path)}. Refused as ambiguous.")
        messages = headers.messages(address)
        if any(kind == LAYOUT for kind, _ in messages):
            tree.arrays[path] = stored = _array(headers, messages, path)
            if isinstance(stored.place, Place):
                budget -= stored.size
            else:
                chunks = stored.place.grid if isinstance(stored.place, Chunked) else (0,)
                spare -= stored.size + CHUNK * math.prod(chunks)
            if min(budget, spare) < 0:
                raise InputError(
                    "the arrays declare far more bytes than the file holds. Refused"
                    " (h5repack -l CONTI -f NONE IN OUT helps if they are right)."
                )
        else:
            tree.groups[path] = address
            _enqueue(headers, queue, seen, f"{path}/", members(headers, address, path))
    return tree


def _enqueue(
    headers: Headers,
    queue: list[tuple[str, int]],
    seen: set[int],
    prefix: str,
    links: dict[str, int],
) -> None:
    """Add objects to those to look at; each may be met once."""
    for name, address in links.items():
        headers.keep(len(prefix) + len(name) + OBJECT)
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
        if kind != "HardLink":
            raise InputError(
                f"{quote(f'{path}/{name}' if path else name)} is a {kind}. Refused: it may point "
                "outside the file, and Keras writes none."
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
            yield _link(headers, body)
        elif kind == LINK_INFO:
            at = 2 + 8 * (body[1] & 1) if len(body) > 1 else 0
            for held in heap_objects(headers, body[at : at + 16], LINK_RECORDS):
                yield _link(headers, held)


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
    start = names + offset
    end = headers.content.find(b"\0", start, start + min(size - offset, MAX_NAME))
    if end < 0:
        raise damaged("a name without an end")
    return headers.text(headers.slice(start, end - start))


def _link(headers: Headers, body: bytes) -> tuple[str, int, str]:
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
    return headers.text(name), number(target), words.get(kind, "user's link")


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
    elif not {SPACE, TYPE, LAYOUT} <= held.keys():
        fault = "has no shape or no type"
    else:
        shape = shape_of(held[SPACE])
        dtype, size = dtype_of(held[TYPE])
        if shape is None or size == 0:
            fault = "holds objects instead of numbers"
        else:
            place = place_of(headers, held, shape, size)
            if isinstance(place, Place) and math.prod(shape) * size > place.length:
                place = f"declares shape {shape} but holds {place.length} bytes"
            if not isinstance(place, str):
                return Stored(path, shape, dtype, place, fill_value(held, size))
            fault = place
    raise InputError(f"array {quote(path)} {fault}. Refused.")
