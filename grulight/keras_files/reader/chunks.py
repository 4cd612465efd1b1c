"""Arrays that an HDF5 file keeps in chunks, compressed or not, as people repack Keras' files.

Nothing is inflated beyond what a chunk must hold, and no chunk is taken twice.
Layout: HDF5 file format specification, III.A.1 (B-trees), III.C (indexes of version 4), IV.A.2.l
(filters).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import ge
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grulight.keras_files.reader.filters import DEFLATE, FLETCHER, inflated
from grulight.keras_files.reader.headers import UNDEFINED, Headers, damaged, number
from grulight.keras_files.reader.heaps import records

MAX_CHUNKS = 50_000  # of one array; h5py chooses a few thousand for the largest
PLAIN_RECORD, FILTERED_RECORD = 10, 11  # types of tree
# Ways of version 4 to find a chunk.
SINGLE, IMPLICIT, FIXED, EXTENSIBLE, TREE = 1, 2, 3, 4, 5
PARTS_UNFILTERED, SINGLE_FILTERED = 1, 2  # flags


class Chunk(NamedTuple):
    """One chunk: its place in the grid, and where its bytes are."""

    place: tuple[int, ...]
    address: int
    length: int
    skipped: int  # bit per filter that was not applied


@dataclass(frozen=True)
class Chunked:
    """Where and how an array is kept in chunks.

    Attributes:
        headers: The file.
        shape: Of the array.
        chunk: Shape of every chunk, also of those that stick out.
        itemsize: Bytes of an element.
        filters: What was done to the bytes, in order.
        way: How chunks are found: 0 for a B-tree of version 1.
        index: Where the index, or the only chunk, begins.
        flags: Of layouts of version 4.
        single: Length and skipped filters of an only chunk.
        limit: The shape that the array may grow to, which indexes are laid out for.
    """

    headers: Headers = field(repr=False)
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    itemsize: int
    filters: tuple[int, ...]
    way: int
    index: int
    flags: int = 0
    single: tuple[int, int] = (0, 0)
    limit: tuple[int, ...] = ()

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks there are along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))

    @property
    def index_grid(self) -> tuple[int, ...]:
        """How many chunks there may be along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.limit, self.chunk, strict=True))

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk."""
        return math.prod(self.chunk) * self.itemsize

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
        for found in self._chunks():
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

    def _chunks(self) -> Iterator[Chunk]:
        if self.index == UNDEFINED:
            return
        if self.way == 0:
            yield from self._old_tree()
        elif self.way == TREE:
            yield from self._new_tree()
        elif self.way == FIXED:
            yield from self._fixed()
        elif self.way == SINGLE:
            length, skipped = self.single
            yield Chunk((0,) * len(self.chunk), self.index, length or self.chunk_bytes, skipped)
        else:
            for at in range(min(math.prod(self.index_grid), MAX_CHUNKS)):
                place = self._unravelled(at)
                yield Chunk(place, self.index + at * self.chunk_bytes, self.chunk_bytes, 0)

    def _unravelled(self, at: int) -> tuple[int, ...]:
        place = []
        for size in reversed(self.index_grid):
            at, rest = divmod(at, size)
            place.append(rest)
        return tuple(reversed(place))

    def _old_tree(self) -> Iterator[Chunk]:
        rank = len(self.chunk)
        key = 8 + 8 * (rank + 1)
        seen: set[int] = set()
        nodes = [self.index]
        while nodes:
            node = nodes.pop()
            head = self.headers.slice(node, 24)
            if head[:5] != b"TREE\1" or node in seen or len(seen) > MAX_CHUNKS:
                raise damaged("chunks without their tree")
            seen.add(node)
            count = number(head[6:8])
            self.headers.spend(count * (key + 8))
            body = self.headers.slice(node + 24, count * (key + 8))
            for at in range(0, len(body), key + 8):
                child = number(body[at + key : at + key + 8])
                if head[5]:
                    nodes.append(child)
                    continue
                starts = [number(body[at + 8 + 8 * i : at + 16 + 8 * i]) for i in range(rank)]
                place = tuple(s // c for s, c in zip(starts, self.chunk, strict=True))
                length, skipped = number(body[at : at + 4]), number(body[at + 4 : at + 8])
                yield Chunk(place, child, length, skipped)

    def _new_tree(self) -> Iterator[Chunk]:
        tail = 8 * len(self.chunk)
        for kind, body in records(self.headers, self.index):
            middle = body[8 : len(body) - tail]
            if kind not in (PLAIN_RECORD, FILTERED_RECORD) or len(body) < 8 + tail:
                raise damaged("chunks without their tree")
            starts = range(len(body) - tail, len(body), 8)
            place = tuple(number(body[at : at + 8]) for at in starts)
            yield self._chunk(place, number(body[:8]), middle)

    def _fixed(self) -> Iterator[Chunk]:
        """Read a fixed array: addresses in the order of the grid, on pages where they are many."""
        head = self.headers.slice(self.index, 24)
        width, page, count = head[6], 1 << min(head[7], 32), number(head[8:16])
        if head[:5] != b"FAHD\0" or width < 8 or count != math.prod(self.index_grid):
            raise damaged("chunks without their list")
        block = number(head[16:24])
        if block == UNDEFINED:
            return
        if self.headers.slice(block, 5) != b"FADB\0":
            raise damaged("chunks without their list")
        start, pages = block + 14, -(-count // page)
        written = None
        if pages > 1:
            written = self.headers.slice(start, -(-pages // 8))
            start += len(written) + 4
        self.headers.spend(count * width)
        for at in range(count):
            number_of_page = at // page
            if written is not None and not written[number_of_page // 8] & (
                128 >> number_of_page % 8
            ):
                continue
            checks = 4 * number_of_page if pages > 1 else 0
            body = self.headers.slice(start + at * width + checks, width)
            yield self._chunk(self._unravelled(at), number(body[:8]), body[8:])

    def _chunk(self, place: tuple[int, ...], address: int, rest: bytes) -> Chunk:
        """Return a chunk whose length and skipped filters are given if there are filters."""
        if not rest:
            return Chunk(place, address, self.chunk_bytes, 0)
        return Chunk(place, address, number(rest[:-4]), number(rest[-4:]))


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
