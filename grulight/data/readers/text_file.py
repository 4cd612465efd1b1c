"""Text files, whole or compressed, as blocks of whole lines."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import numpy as np

from grulight.data.readers.file_kinds import COMPRESSED
from grulight.data.readers.messages import bad

_BLOCK = 1 << 20  # bytes read at once: what is parsed together should stay in the cache
LONGEST_LINE = 1 << 26  # bytes: a line without an end would fill the memory
_QUOTE, _LINE_ENDS = ord('"'), (ord("\n"), ord("\r"))


@dataclass(frozen=True)
class TextBlock:
    """Some lines of a file.

    Attributes:
        data: Their bytes. Quotes are closed at the end, if the file's are well placed.
        offset: Bytes of the text before them.
        share: Share of the file that was read with them.
    """

    data: bytes
    offset: int
    share: float


class TextFile:
    """A text file.

    Args:
        path: The file; ``.gz`` and ``.zst`` are decompressed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._size = max(1, os.path.getsize(path))
        self._compression = COMPRESSED.get(os.path.splitext(path)[1].lower())
        self._raw: BinaryIO | None = None

    def __enter__(self) -> "TextFile":
        """Return the file."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close it."""
        if self._raw:
            self._raw.close()

    def opened_at(self, offset: int) -> IO[bytes]:
        """Return the text's bytes from an offset on; what was opened before is closed."""
        self.__exit__()
        self._raw = raw = open(self.path, "rb")  # noqa: SIM115  # closed with this object
        if self._compression is None:
            raw.seek(offset)
            return raw
        import pyarrow

        file: Any = io.BufferedReader(pyarrow.CompressedInputStream(raw, self._compression))
        while offset and (skipped := len(file.read(min(offset, _BLOCK)))):
            offset -= skipped
        opened: IO[bytes] = file
        return opened

    @property
    def share(self) -> float:
        """Share of the file that was read."""
        return self._raw.tell() / self._size if self._raw else 0.0

    def line_at(self, offset: int) -> int:
        """Return the number of the line, counted from 1, that begins at an offset.

        Nobody asks but where something is wrong, so that reading takes no time for it.
        """
        file, line, held = self.opened_at(0), 1, b""
        while offset and (read := file.read(min(offset, _BLOCK))):
            offset -= len(read)
            held = b"\r" if (data := held + read).endswith(b"\r") and offset else b""
            line += _count_ends(data[: len(data) - len(held)])
        return line

    def blocks(self, offset: int) -> Iterator[TextBlock]:
        """Yield blocks of whole lines from an offset on.

        Raises:
            InputError: A line never ends.
        """
        file, held = self.opened_at(offset), b""
        while True:
            read = file.read(max(_BLOCK, len(held)))
            held += read
            end = _last_end(held) if read else len(held)
            if end:
                yield TextBlock(held[:end], offset, self.share)
                offset, held = offset + end, held[end:]
            if not read:
                return
            if len(held) > LONGEST_LINE:
                problem = f"line {self.line_at(offset)} has more than {LONGEST_LINE:,} characters; "
                raise bad(self.path, f"{problem}a quote in it may not be closed.")


def _count_ends(data: bytes) -> int:
    """Return how many lines end in some bytes."""
    ends = data.count(b"\n")
    return ends + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else ends


def _last_end(data: bytes) -> int:
    """Return where the last line ends that ends outside quotes; 0 if none does."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == _LINE_ENDS[0])
    if not len(ends):  # \r alone; one at the end may be half of \r\n
        ends = np.flatnonzero(codes[:-1] == _LINE_ENDS[1])
    outside = np.searchsorted(np.flatnonzero(codes == _QUOTE), ends) % 2 == 0
    return int(ends[outside][-1]) + 1 if outside.any() else 0


def is_well_quoted(data: bytes, separator: str) -> bool:
    """Return whether each quote opens or closes a cell, or is one of two within one."""
    codes = np.frombuffer(b"\n" + data + b"\n", np.uint8)
    marks = np.flatnonzero(codes == _QUOTE)
    borders = np.array([*_LINE_ENDS, _QUOTE, ord(separator)], np.uint8)
    return (
        len(marks) % 2 == 0
        and bool(np.isin(codes[marks[::2] - 1], borders).all())
        and bool(np.isin(codes[marks[1::2] + 1], borders).all())
    )
