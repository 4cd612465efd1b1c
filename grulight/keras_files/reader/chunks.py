"""Arrays that an HDF5 file keeps in chunks, compressed or not, as people repack Keras' files.

Nothing is inflated beyond what a chunk must hold, and no chunk is taken twice.
Layout: HDF5 file format specification, III.A.1 (B-trees), III.C (indexes of version 4), IV.A.2.l
(filters).
"""

import math
from dataclasses import dataclass
from operator import ge
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.keras_files.reader.chunk_index import (
    FIXED,
    IMPLICIT,
    MAX_CHUNKS,
    SINGLE,
    TREE,
    Chunk,
    ChunkIndex,
)
from grulight.keras_files.reader.filters import DEFLATE, FLETCHER, inflated
from grulight.keras_files.reader.headers import UNDEFINED, Headers, damaged, number

PARTS_UNFILTERED, SINGLE_FILTERED = 1, 2  # flags


@dataclass(frozen=True)
class Chunked(ChunkIndex):
    """An array that is kept in chunks."""

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks there are along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))

    @property
    def size(self) -> int:
        """Bytes of all chunks together."""
        return math.prod(self.grid) * self.chunk_bytes

    def fill(self, array: NDArray[Any]) -> None:
        """Put every chunk where it belongs; those never written are left as they are.

        Raises:
            InputError: A chunk is damaged, outside the array, or there twice.
        """
        seen: set[tuple[int, ...]] = set()
        for found in self.chunks():
            if found.address == UNDEFINED:
                continue
            if self.way in (IMPLICIT, FIXED) and any(map(ge, found.place, self.grid)):
                continue  # room to grow
            inside = len(found.place) == len(self.grid) and all(
                0 <= at < most for at, most in zip(found.place, self.grid, strict=True)
            )
            if not inside or found.place in seen:
                raise damaged("a chunk lies outside its array, or is there twice")
            seen.add(found.place)
            starts = [at * size for at, size in zip(found.place, self.chunk, strict=True)]
            ends = [min(s + c, n) for s, c, n in zip(starts, self.chunk, self.shape, strict=True)]
            whole = all(e - s == c for s, e, c in zip(starts, ends, self.chunk, strict=True))
            filters = () if self.flags & PARTS_UNFILTERED and not whole else self.filters
            raw = self._unfiltered(found, filters)
            values = np.frombuffer(raw, array.dtype, math.prod(self.chunk)).reshape(self.chunk)
            there = tuple(slice(s, e) for s, e in zip(starts, ends, strict=True))
            array[there] = values[tuple(slice(0, e - s) for s, e in zip(starts, ends, strict=True))]

    def _unfiltered(self, chunk: Chunk, filters: tuple[int, ...]) -> bytes:
        """Return a chunk's bytes as they were before they were filtered."""
        length = chunk.length if filters else self.chunk_bytes
        if length > 2 * self.chunk_bytes + 1024:  # what does not compress grows by less
            raise damaged("a chunk takes more room than its shape")
        raw = self.headers.slice(chunk.address, length)
        wanted = self.chunk_bytes + 4 * filters.count(FLETCHER)
        for at, kind in reversed([*enumerate(filters)]):
            if chunk.skipped >> at & 1:
                continue
            if kind == FLETCHER:  # a sum over what is before it
                raw = raw[:-4]
            elif kind == DEFLATE:
                raw = inflated(raw, wanted)
            elif len(raw) == self.chunk_bytes:
                planes = np.frombuffer(raw, np.uint8).reshape(self.itemsize, -1)
                raw = planes.T.tobytes()
        if len(raw) != self.chunk_bytes:
            raise damaged("a chunk does not hold what its shape says")
        return raw


def chunked(
    headers: Headers,
    body: bytes,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    itemsize: int,
    filters: tuple[int, ...],
) -> Chunked | str:
    """Return where the chunks of an array are, or what is wrong."""
    shape, limit = shapes
    if len(body) < 11:
        raise damaged("chunks of unknown layout")
    way = flags = index = 0
    if body[0] == 3:
        rank, width, at, index = body[2] - 1, 4, 11, number(body[3:11])
    else:
        flags, rank, width, at = body[2], body[3] - 1, body[4], 5
    sizes = [number(body[at + width * i : at + width * (i + 1)]) for i in range(rank + 1)]
    if (
        rank != len(shape)
        or rank < 1
        or len(body) < at + width * (rank + 1)
        or sizes[-1] != itemsize
    ):
        raise damaged("chunks of another shape than their array")
    single = (0, 0)
    if body[0] == 4:
        at += width * (rank + 1)
        way, at = number(body[at : at + 1]), at + 1
        if way == SINGLE and flags & SINGLE_FILTERED:
            single = number(body[at : at + 8]), number(body[at + 8 : at + 12])
            at += 12
        at += {FIXED: 1, TREE: 6}.get(way, 0)
        index = number(body[at : at + 8]) if len(body) >= at + 8 else UNDEFINED
    if way not in (0, SINGLE, IMPLICIT, FIXED, TREE):
        return "can grow along one axis, which weights never do (h5repack -l CONTI IN OUT helps)"
    chunk = tuple(sizes[:-1])
    if not all(chunk):
        raise damaged("chunks without a size")
    if way == SINGLE and any(n > c for n, c in zip(shape, chunk, strict=True)):
        raise damaged("one chunk for more than it holds")
    found = Chunked(headers, shape, chunk, itemsize, filters, way, index, flags, single, limit)
    if math.prod(found.grid) > MAX_CHUNKS:
        return f"is cut into more than {MAX_CHUNKS} chunks (h5repack -l CONTI IN OUT helps)"
    return found
