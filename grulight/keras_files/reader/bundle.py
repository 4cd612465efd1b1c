"""A TensorBundle: the variables of a SavedModel or of a TensorFlow checkpoint, unread.

Layout: tensorflow/core/util/tensor_bundle/tensor_bundle.cc. The index says of each tensor in which
shard its bytes lie; nothing is made of an entry before it is asked for.
"""

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.keras_files.reader.folders import Folder
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.protobuf_messages import parse
from grulight.keras_files.reader.table import crc32c, damaged, masked, read_table, varint
from grulight.keras_files.reader.untrusted_text import quote

MAX_INDEX = 64 << 20
MAX_SHARDS = 1000
MAX_RANK = 8
MAX_SIZE = (1 << 31) - 1
STRING = 7
_SLACK = 1 << 20  # bytes of a shard that no tensor takes
# TensorFlow's numbers for types (types.proto) that are floats here, and the sizes of the others.
FLOATS = {1: "<f4", 2: "<f8", 19: "<f2"}
SIZES = {3: 4, 4: 1, 5: 2, 6: 1, 9: 8, 10: 1, 14: 2, 17: 2, 22: 4, 23: 8}


@dataclass(frozen=True)
class Checked:
    """The bytes of a tensor, whose checksum is compared when they are read.

    Attributes:
        name: The tensor's, for messages.
        content: The shard.
        start: Where the bytes begin.
        size: How many there are.
        checksum: Their masked CRC-32C.
    """

    name: str
    content: bytes = field(repr=False)
    start: int
    size: int
    checksum: int

    def fill(self, array: NDArray[Any]) -> None:
        """Write the numbers into an array of their shape.

        Raises:
            InputError: The checksum is another.
        """
        held = memoryview(self.content)[self.start : self.start + self.size]
        _require_checksum(self.name, crc32c(held), self.checksum)
        array[...] = np.frombuffer(held, array.dtype).reshape(array.shape)


class Bundle:
    """The tensors of a checkpoint by key.

    Args:
        folder: Where its files lie.
        prefix: What their names begin with, such as `variables/variables`.

    Raises:
        InputError: The index is damaged, a shard is missing, or another machine's order of bytes.
    """

    def __init__(self, folder: Folder, prefix: str) -> None:
        index = f"{prefix}.index"
        self._entries = read_table(folder.read(index, MAX_INDEX))
        header = parse("BundleHeader", self._entries.pop(b"", b""), quote(index))
        if header.endianness:
            raise InputError(f"{quote(index)} is big-endian. Refused: save the model again.")
        shards = header.num_shards
        if not 1 <= shards <= MAX_SHARDS:
            raise damaged(f"it claims {shards} shards")
        names = [f"{prefix}.data-{at:05d}-of-{shards:05d}" for at in range(shards)]
        sizes = [folder.size(name) for name in names]  # all are there before one is read
        for name, size, end in zip(names, sizes, self._ends(shards), strict=True):
            if size > end + _SLACK:  # a hole in a file may claim any length
                raise InputError(
                    f"{quote(name)} has {size} bytes, of which its index knows {end}. Refused: "
                    "copy or download the files again."
                )
        self._shards = [folder.read(*each) for each in zip(names, sizes, strict=True)]

    def _ends(self, shards: int) -> list[int]:
        """Return where the last tensor of each shard ends."""
        ends = [0] * shards
        for key, held in self._entries.items():
            entry = parse("BundleEntry", held, f"the index of the variables, at {quote(key)},")
            if 0 <= entry.shard_id < shards:
                ends[entry.shard_id] = max(ends[entry.shard_id], entry.offset + entry.size)
        return ends

    def __contains__(self, key: str) -> bool:
        return key.encode() in self._entries

    @property
    def keys(self) -> list[str]:
        """The keys of all tensors."""
        return [key.decode("utf-8", "replace") for key in self._entries]

    def stored(self, key: str, name: str) -> Stored:
        """Return a tensor, unread.

        Args:
            key: Its key.
            name: What messages call it.

        Raises:
            InputError: It is not there, partitioned, or not where the index says.
        """
        entry = self._entry(key, name)
        sizes = tuple(dim.size for dim in entry.shape.dim)
        whole = len(sizes) <= MAX_RANK and all(0 <= size <= MAX_SIZE for size in sizes)
        if entry.shape.unknown_rank or not whole:
            raise damaged(f"{quote(name)} has no shape")
        dtype = np.dtype(FLOATS[entry.dtype]) if entry.dtype in FLOATS else None
        each = dtype.itemsize if dtype else SIZES.get(entry.dtype)
        if each is not None and math.prod(sizes) * each != entry.size:
            raise damaged(f"{quote(name)} of shape {sizes} has {entry.size} bytes")
        place = self._place(entry, name)
        return Stored(name, sizes, dtype, place, bytes(8))

    def text(self, key: str, limit: int) -> bytes:
        """Return a tensor that is a single text.

        Raises:
            InputError: It is not there, none, too long, or damaged.
        """
        entry = self._entry(key, key)
        place = self._place(entry, key)
        if entry.dtype != STRING or entry.shape.dim or not 5 <= place.size <= limit:
            raise damaged(f"{quote(key)} is no text of at most {limit} bytes")
        held: bytes = self._shards[entry.shard_id][place.start : place.start + place.size]
        length, at = varint(held, 0)
        noted, body = held[at : at + 4], held[at + 4 :]
        lengths = crc32c(struct.pack("<I" if length < 1 << 32 else "<Q", length))
        if len(body) != length or len(noted) < 4:
            raise damaged(f"{quote(key)} is cut off")
        _require_checksum(key, lengths, int.from_bytes(noted, "little"))
        _require_checksum(key, crc32c(body, crc32c(noted, lengths)), place.checksum)
        return body

    def _entry(self, key: str, name: str) -> Any:
        held = self._entries.get(key.encode())
        if held is None:
            raise damaged(f"it lacks {quote(name)}")
        entry = parse("BundleEntry", held, f"the index of the variables, at {quote(name)},")
        if entry.slices:
            raise InputError(
                f"{quote(name)} is kept in slices (a partitioned variable). Refused: save the "
                "model without a partitioner."
            )
        return entry

    def _place(self, entry: Any, name: str) -> Checked:
        shard, start, size = entry.shard_id, entry.offset, entry.size
        if not 0 <= shard < len(self._shards):
            raise damaged(f"{quote(name)} lies in shard {shard} of {len(self._shards)}")
        content = self._shards[shard]
        if start < 0 or size < 0 or start + size > len(content):
            raise InputError(
                f"{quote(name)} takes {size} bytes from byte {start} on, and its shard holds "
                f"{len(content)}. Copy or download the files again."
            )
        return Checked(name, content, start, size, entry.crc32c)


def _require_checksum(name: str, found: int, noted: int) -> None:
    if masked(found) != noted:
        raise InputError(
            f"the bytes of {quote(name)} are damaged (their checksum is another). Copy or "
            "download the files again."
        )
