"""Where the chunks of an HDF5 array are: the indexes of all layouts that Keras' files come in.

Layout: HDF5 file format specification, III.A.1 (B-trees), III.C (indexes of version 4).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from grulight.keras_files.reader.headers import UNDEFINED, Headers, damaged, number
from grulight.keras_files.reader.heaps import records

MAX_CHUNKS = 50_000  # of one array; h5py chooses a few thousand for the largest
PLAIN_RECORD, FILTERED_RECORD = 10, 11  # types of tree
# Ways of version 4 to find a chunk.
SINGLE, IMPLICIT, FIXED, EXTENSIBLE, TREE = 1, 2, 3, 4, 5


class Chunk(NamedTuple):
    """One chunk: its place in the grid, and where its bytes are."""

    place: tuple[int, ...]
    address: int
    length: int
    skipped: int  # bit per filter that was not applied


@dataclass(frozen=True)
class ChunkIndex:
    """Where the chunks of an array are.

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
    def index_grid(self) -> tuple[int, ...]:
        """How many chunks there may be along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.limit, self.chunk, strict=True))

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk."""
        return math.prod(self.chunk) * self.itemsize

    def chunks(self) -> Iterator[Chunk]:
        """Yield every chunk that the index knows, written or not."""
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
