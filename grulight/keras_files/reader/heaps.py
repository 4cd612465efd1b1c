"""What newer HDF5 files keep in heaps: the links of large groups, and many or long attributes.

Layout: HDF5 file format specification, III.A.2 (version 2 B-trees), III.G (fractal heaps).
"""

from collections.abc import Iterator

from grulight.errors import InputError
from grulight.keras_files.reader.headers import UNDEFINED, Headers, damaged, number

MAX_RECORDS = 200_000
MAX_TREE_DEPTH = 8
NODE_FRAME = 10  # bytes of a node that hold no records: magic, version, type, checksum
MANAGED, HUGE, TINY = 0, 1, 2  # where a heap keeps an object
HUGE_RECORD = 1  # type of tree
# Types of trees that list links or attributes: where in a record the heap's identity begins.
LINK_RECORDS = {5: 4, 6: 8}
ATTRIBUTE_RECORDS = {8: 0, 9: 0}


def heap_objects(headers: Headers, places: bytes, kinds: dict[int, int]) -> Iterator[bytes]:
    """Yield the links or attributes that an object keeps in a heap.

    Args:
        headers: The file.
        places: The addresses of the heap and of its index by name; undefined where it has none.
        kinds: Types of records that the index may have, and where each has the heap's identity.
    """
    if len(places) < 16:
        raise damaged("a message is cut off")
    address, index = number(places[:8]), number(places[8:16])
    if address == UNDEFINED:
        return
    heap = Heap(headers, address)
    for kind, record in records(headers, index):
        if kind not in kinds:
            raise damaged("an index of another kind")
        start = kinds[kind]
        yield heap.object(record[start : start + heap.identity_bytes])


def records(headers: Headers, address: int) -> Iterator[tuple[int, bytes]]:
    """Yield type and body of every record of a version 2 B-tree.

    Raises:
        InputError: The tree is damaged, or too large.
    """
    head = headers.slice(address, 38)
    if head[:5] != b"BTHD\0":
        raise damaged("an index without a tree")
    kind, size, width, depth = (
        head[5],
        *(number(head[a:b]) for a, b in ((6, 10), (10, 12), (12, 14))),
    )
    root, count, total = number(head[16:24]), number(head[24:26]), number(head[26:34])
    if root == UNDEFINED or total == 0:
        return
    if depth > MAX_TREE_DEPTH or total > MAX_RECORDS or width == 0 or size <= NODE_FRAME:
        raise damaged("an index of unknown layout")
    counts = _count_sizes(size, width, depth)
    nodes = [(root, count, depth)]
    while nodes:
        at, held, level = nodes.pop()
        headers.spend(NODE_FRAME + held * width)
        node = headers.slice(at, min(size, len(headers.content) - at))
        if node[:6] != (b"BTIN\0" if level else b"BTLF\0") + bytes([kind]):
            raise damaged("an index without its nodes")
        if len(node) < 6 + held * width:
            raise damaged("an index is cut off")
        for start in range(6, 6 + held * width, width):
            yield kind, node[start : start + width]
        if level:
            nodes += _children(node[6 + held * width :], held + 1, counts, level)


def _count_sizes(size: int, width: int, depth: int) -> list[tuple[int, int]]:
    """Return per level the bytes that the counts take that are kept beside a child's address."""
    most = (size - NODE_FRAME) // width
    first, whole, sizes = _bytes_for(most), 0, [(0, 0)]
    for _ in range(depth):
        sizes.append((first, whole))
        pointer = 8 + first + whole
        own = (size - NODE_FRAME - pointer) // (width + pointer)
        most = (own + 1) * most + own
        whole = _bytes_for(most)
    return sizes


def _bytes_for(largest: int) -> int:
    return max(largest.bit_length() - 1, 0) // 8 + 1


def _children(
    pointers: bytes, count: int, sizes: list[tuple[int, int]], level: int
) -> Iterator[tuple[int, int, int]]:
    first, whole = sizes[level]
    each = 8 + first + whole
    if len(pointers) < count * each:
        raise damaged("an index is cut off")
    for at in range(0, count * each, each):
        held = number(pointers[at + 8 : at + 8 + first])
        yield number(pointers[at : at + 8]), held, level - 1


class Heap:
    """A fractal heap: blocks that double in size, in rows of a table.

    Args:
        headers: The file.
        address: Where the heap's header is.
    """

    def __init__(self, headers: Headers, address: int) -> None:
        self._headers = headers
        head = headers.slice(address, 142)
        if head[:5] != b"FRHP\0":
            raise damaged("an object outside the heaps")
        if number(head[7:9]):
            raise InputError("a heap is compressed. Refused: save the file again with plain h5py.")
        self.identity_bytes = number(head[5:7])
        self._huge = number(head[22:30])
        self._width, self._start = number(head[110:112]), number(head[112:120])
        self._largest, bits = number(head[120:128]), number(head[128:130])
        self._root, self._rows = number(head[132:140]), number(head[140:142])
        self._offset_bytes = (bits + 7) // 8
        powers = (self._width, self._start, self._largest)
        if bits > 64 or any(n == 0 or n & (n - 1) for n in powers) or self._largest < self._start:
            raise damaged("a heap of unknown layout")

    def object(self, identity: bytes) -> bytes:
        """Return an object by its heap's identity for it."""
        if len(identity) < max(self.identity_bytes, 1 + self._offset_bytes):
            raise damaged("an object without a place")
        kind = identity[0] >> 4 & 3
        if kind == TINY:
            length = (identity[0] & 15) + 1
            return identity[1 : 1 + length]
        if kind == HUGE:
            return self._huge_object(number(identity[1:]))
        if kind != MANAGED:
            raise damaged("an object of unknown kind")
        end = 1 + self._offset_bytes
        offset, length = number(identity[1:end]), number(identity[end:])
        self._headers.spend(length)
        return self._headers.slice(self._place(offset, length), length)

    def _huge_object(self, wanted: int) -> bytes:
        for kind, record in records(self._headers, self._huge):
            if kind != HUGE_RECORD or len(record) < 24:
                raise damaged("a heap of unknown layout")
            if number(record[16:24]) == wanted:
                length = number(record[8:16])
                self._headers.spend(length)
                return self._headers.slice(number(record[:8]), length)
        raise damaged("an object is not in its heap")

    def _place(self, offset: int, length: int) -> int:
        """Return where in the file an offset of the heap lies: in a block of a table of tables."""
        table, rows = self._root, self._rows
        if rows == 0:
            return self._inside(table, offset, length, self._start)
        while True:
            row, size = 0, self._start
            while offset >= self._width * size and row < rows:
                offset -= self._width * size
                row, size = row + 1, size if row == 0 else size * 2
            if row >= rows:
                raise damaged("an object outside its heap")
            column, offset = divmod(offset, size)
            if self._headers.slice(table, 4) != b"FHIB":
                raise damaged("a heap without its blocks")
            at = table + 13 + self._offset_bytes + 8 * (row * self._width + column)
            block = self._headers.integer(at, 8)
            if size <= self._largest:
                return self._inside(block, offset, length, size)
            table, rows = block, (size // (self._start * self._width)).bit_length()

    def _inside(self, block: int, offset: int, length: int, size: int) -> int:
        if self._headers.slice(block, 4) != b"FHDB" or offset + length > size:
            raise damaged("an object outside its heap")
        return block + offset
