"""LevelDB's sorted table, in which TensorFlow keeps the index of a checkpoint.

Layout: tensorflow/tsl/lib/io/format.cc and block.cc: a footer leads to an index block, whose values
lead to data blocks; keys leave out what they share with the one before.
"""

from collections.abc import Iterator
from typing import NamedTuple

from grulight.errors import InputError

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
FOOTER = 48
TRAILER = 5  # after each block: how it is packed, and its checksum
MAX_ENTRIES = 200_000  # some hundred times those of the largest models
MAX_KEY = 4096
# Keys share most of what they hold: so many times the table's bytes they may take, and some more.
KEY_GROWTH = 4
KEY_ROOM = 16 << 20


class Handle(NamedTuple):
    """Where a block lies."""

    offset: int
    size: int


def read_table(content: bytes) -> dict[bytes, bytes]:
    """Return what a table holds, by key.

    Raises:
        InputError: It is damaged, packed, or holds far more than an index does.
    """
    if len(content) < FOOTER or not content.endswith(MAGIC):
        raise damaged("its end is not that of a table")
    footer = content[-FOOTER:]
    _, at = _handle(footer, 0)  # of what else there may be, which TensorFlow leaves empty
    index, _ = _handle(footer, at)
    found: dict[bytes, bytes] = {}
    room = KEY_GROWTH * len(content) + KEY_ROOM
    last: bytes | None = None
    for _, value in _entries(_block(content, index)):
        handle, _ = _handle(value, 0)
        for key, held in _entries(_block(content, handle)):
            room -= len(key)
            if (last is not None and key <= last) or room < 0 or len(found) >= MAX_ENTRIES:
                raise damaged("its keys are not in order, or far too many")
            found[key] = held
            last = key
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise damaged("a number has no end")


def crc32c(data: bytes | memoryview, before: int = 0) -> int:
    """Return the CRC-32C of bytes, or of those before and these."""
    from crc32c import crc32c as checksum  # for these formats alone

    return int(checksum(data, before))


def masked(checksum: int) -> int:
    """Return a CRC-32C as TensorFlow notes it."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def damaged(how: str) -> InputError:
    """Return the refusal of an index."""
    return InputError(f"the index of the variables is damaged: {how}. Copy the files again.")


def _handle(data: bytes, at: int) -> tuple[Handle, int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return Handle(offset, size), at


def _block(content: bytes, handle: Handle) -> bytes:
    """Return the bytes of a block, checked."""
    end = handle.offset + handle.size
    if end + TRAILER > len(content) - FOOTER:
        raise damaged("a block lies past its end")
    packed = content[end]
    checksum = int.from_bytes(content[end + 1 : end + TRAILER], "little")
    if masked(crc32c(content[handle.offset : end + 1])) != checksum:
        raise damaged("the checksum of a block is wrong")
    if packed:
        kind = "Snappy" if packed == 1 else f"method {packed}"
        raise InputError(
            f"the index of the variables is packed with {kind}, which TensorFlow does not do for "
            "models. Save the model again with TensorFlow."
        )
    return content[handle.offset : end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys of a block with their values."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if len(block) < 4 or end < 0:
        raise damaged("a block is cut off")
    key = b""
    at = 0
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or shared + own > MAX_KEY or at + own + length > end:
            raise damaged("an entry leads out of its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length
