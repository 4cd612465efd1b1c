"""The bytes of an HDF5 file: the messages in the headers of its objects.

HDF5's own library trusts lengths and addresses in the file: a text that claims 4 GiB takes 4 GiB,
and a tree of names that leads back to itself is walked for ever (both met by fuzzing HDF5 1.14).
So a Keras file is read here from the bytes, and every length and address is checked against them.
Layout: HDF5 file format specification, II.A (superblock) and IV.A (object headers).
"""

import sys
from collections.abc import Iterator

from grulight.errors import InputError

MAGIC = b"\x89HDF\r\n\x1a\n"
UNDEFINED = (1 << 64) - 1
MAX_BLOCKS = 64  # continuations of one object header
# Bytes of memory for names, paths, texts and headers. The largest models seen take a tenth of it.
MAX_KEPT = 64 << 20
OVERHEAD = 128  # bytes of memory that an entry of a table takes beside its text
SHARED = 2  # flag of a message that is kept elsewhere

# Kinds of messages that are read.
SPACE, LINK_INFO, TYPE, FILL, LINK, EXTERNAL = 0x01, 0x02, 0x03, 0x05, 0x06, 0x07
LAYOUT, FILTERS, ATTRIBUTE, CONTINUATION, SYMBOLS, ATTRIBUTE_INFO = (
    0x08,
    0x0B,
    0x0C,
    0x10,
    0x11,
    0x15,
)
READ = (
    *(SPACE, TYPE, FILL, LINK, LAYOUT, FILTERS, ATTRIBUTE),
    *(CONTINUATION, SYMBOLS, LINK_INFO, ATTRIBUTE_INFO, EXTERNAL),
)

Messages = list[tuple[int, bytes]]


class Headers:
    """The object headers of a file.

    Args:
        content: The whole HDF5 file.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._budget = 2 * len(content)  # bytes of headers to look at: they do not overlap
        self._kept = 0
        self._known: dict[int, Messages] = {}
        version = self.slice(0, 16)[8]
        if not content.startswith(MAGIC) or version not in (0, 1, 2, 3):
            raise damaged(f"superblock version {version}")
        old = version < 2
        base = {0: 24, 1: 28}.get(version, 12)
        if content[13 if old else 9 :][:2] != b"\x08\x08":
            raise damaged("addresses are not of 8 bytes")
        if self.integer(base, 8) != 0:
            raise damaged("it does not start at its beginning")
        self.root = self.integer(base + (40 if old else 24), 8)

    def slice(self, at: int, length: int) -> bytes:
        """Return some bytes of the file.

        Raises:
            InputError: They are not all there.
        """
        if length < 0 or at < 0 or at + length > len(self.content):
            raise damaged("something lies past the end of the file")
        return self.content[at : at + length]

    def integer(self, at: int, length: int) -> int:
        """Return an unsigned integer of the file."""
        return number(self.slice(at, length))

    def messages(self, address: int) -> Messages:
        """Return kind and body of every message of an object."""
        if address not in self._known:
            self._known[address] = self._messages(address)
        return self._known[address]

    def spend(self, length: int) -> None:
        """Count bytes that are looked at, so that structures laid over each other come to an end.

        Raises:
            InputError: More have been looked at than there are.
        """
        self._budget -= length
        if self._budget < 0:
            raise damaged("its parts lie over each other")

    def keep(self, size: int) -> None:
        """Count memory for what is kept of the file: a name may be there once, its uses often.

        Raises:
            InputError: It is far more than any model needs.
        """
        self._kept += size + OVERHEAD
        if self._kept > MAX_KEPT:
            raise InputError(
                f"its names and other long texts take more than {MAX_KEPT} bytes of memory. "
                "Refused: no Keras model needs that."
            )

    def text(self, raw: bytes) -> str:
        """Return a name or another text, counted; it ends where C would end it."""
        text = raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")
        self.keep(sys.getsizeof(text))
        return text

    def _messages(self, address: int) -> Messages:
        head = self.slice(address, 16)
        new = head.startswith(b"OHDR")
        if not new and head[0] != 1:
            raise damaged("an object without a header")
        order = 0
        if new:
            flags = head[5]
            start = address + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
            width = 1 << (flags & 3)
            order = 2 * bool(flags & 0x04)
            blocks = [(start + width, self.integer(start, width))]
        else:
            blocks = [(address + 16, number(head[8:12]))]
        found: Messages = []
        for at, length in blocks:  # which grows while continuations are found
            if len(blocks) > MAX_BLOCKS:
                raise damaged("an object header goes on and on")
            self.spend(length)
            for kind, body in _split(self.slice(at, length), new, order):
                if kind == CONTINUATION:
                    place, size = number(body[:8]), number(body[8:16])
                    blocks.append((place + 4, size - 8) if new else (place, size))
                elif kind in READ:
                    self.keep(len(body))
                    found.append((kind, body))
        return found


def _split(block: bytes, new: bool, order: int) -> Iterator[tuple[int, bytes]]:
    """Yield kind and body of the messages in one block of a header."""
    head = 4 + order if new else 8
    at = 0
    while at + head <= len(block):
        kind = block[at] if new else number(block[at : at + 2])
        size = number(block[at + 1 : at + 3] if new else block[at + 2 : at + 4])
        flags = block[at + 3] if new else block[at + 4]
        body = block[at + head : at + head + size]
        if kind in READ and (len(body) < size or flags & SHARED):
            raise damaged("a message is cut off, or kept elsewhere")
        yield kind, body
        at += head + size


def number(field: bytes) -> int:
    """Return an unsigned integer, little end first as all of HDF5's structure."""
    return int.from_bytes(field, "little")


def damaged(what: str) -> InputError:
    """Return the refusal of a damaged file."""
    return InputError(f"damaged HDF5 ({what}). Copy or download the file again.")
