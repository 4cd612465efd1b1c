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
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.keras_files.reader.chunks import Chunked
from grulight.keras_files.reader.headers import (
    EXTERNAL,
    LAYOUT,
    SPACE,
    TYPE,
    Headers,
    Messages,
)
from grulight.keras_files.reader.links import MAX_OBJECTS, members
from grulight.keras_files.reader.storage import (
    Packed,
    Place,
    Unwritten,
    dtype_of,
    fill_value,
    place_of,
    shape_of,
)
from grulight.keras_files.reader.untrusted_text import quote

MAX_DEPTH = 64
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
    place: Place | Unwritten | Packed = field(repr=False)
    fill: bytes

    @property
    def size(self) -> int:
        """Bytes of the array, with those of chunks that stick out."""
        if not isinstance(self.place, Place | Unwritten):
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
        if not isinstance(self.place, Place | Unwritten):
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
