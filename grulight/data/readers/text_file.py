"""Text files, in any encoding, whole or compressed, as blocks of whole lines of UTF-8."""

import codecs
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import numpy as np

from grulight.data.readers.file_kinds import COMPRESSED
from grulight.data.readers.messages import bad
from grulight.errors import InputError, option

_BLOCK = 1 << 20  # bytes read at once: what is parsed together should stay in the cache
LONGEST_LINE = 1 << 26  # bytes: a line without an end would fill the memory
# a byte order mark, or ASCII with its zeros, at the start of a text that is not UTF-8
_STARTS = {
    rb"\xff\xfe\0\0|\0\0\xfe\xff": "utf-32",
    rb"\xff\xfe|\xfe\xff": "utf-16",
    rb"[^\0]\0[^\0]\0": "utf-16-le",
    rb"\0[^\0]\0[^\0]": "utf-16-be",
}
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
        encoding: Of its text, where its first bytes do not tell it; by default UTF-8.

    Raises:
        InputError: There is no such encoding.
    """

    def __init__(self, path: str, encoding: str | None = None) -> None:
        self.path = path
        self._size = max(1, os.path.getsize(path))
        self._compression = COMPRESSED.get(os.path.splitext(path)[1].lower())
        self._raw: BinaryIO | None = None
        with self:
            start = self._opened(None).read(4)
        told = (name for mark, name in _STARTS.items() if re.match(mark, start))
        self._encoding = next(told, None) or _other_than_utf8(encoding)

    def __enter__(self) -> "TextFile":
        """Return the file."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close it."""
        if self._raw:
            self._raw.close()

    def opened_at(self, offset: int) -> IO[bytes]:
        """Return the text's bytes from an offset on; what was opened before is closed."""
        file = self._opened(self._encoding)
        if file is self._raw:
            file.seek(offset)
            return file
        while offset and (skipped := len(file.read(min(offset, _BLOCK)))):
            offset -= skipped
        return file

    def _opened(self, encoding: str | None) -> IO[bytes]:
        self.__exit__()
        self._raw = raw = open(self.path, "rb")  # noqa: SIM115  # closed with this object
        if self._compression is None and encoding is None:
            return raw
        import pyarrow

        stream: Any = pyarrow.PythonFile(raw, "r")
        if self._compression is not None:
            stream = pyarrow.CompressedInputStream(stream, self._compression)
        if encoding is not None:
            stream = pyarrow.transcoding_input_stream(stream, encoding, "utf-8")
        # held here: whoever lets go of it closes the file below it too
        self._stream: Any = io.BufferedReader(stream)
        opened: IO[bytes] = self._stream
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


def _other_than_utf8(encoding: str | None) -> str | None:
    """Return an encoding that is not UTF-8, or None."""
    if encoding is None:
        return None
    from pyarrow import py_buffer

    try:
        io.TextIOWrapper(io.BytesIO(), encoding)  # which takes those of texts alone
        name = codecs.lookup(encoding).name
        codecs.getincrementaldecoder(name)().decode(py_buffer(b""), final=True)
    except (LookupError, ValueError, AttributeError) as error:  # the last: it cannot, as punycode
        raise InputError(
            f"{option('data.encoding', encoding)}: expected a name of Python's, such as cp1252 "
            "(Western Windows), cp1250 (Central European), utf-16 or utf-8."
        ) from error
    return None if name in ("utf-8", "utf-8-sig") else name


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
