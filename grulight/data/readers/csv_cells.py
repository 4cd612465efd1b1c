"""Cells of text one by one, by the standard library's reader, which says what is wrong where."""

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as arrow

from grulight.data.readers import text_file
from grulight.data.readers.arrow_columns import Place
from grulight.data.readers.classes import MISSING
from grulight.data.readers.hints import advice, fill
from grulight.data.readers.messages import bad
from grulight.data.readers.text_file import TextFile
from grulight.errors import option

_ROWS = 1024  # parsed at once: 65536 take twice as long
_CELLS = 1 << 20  # likewise, in a table of many columns
_TRUTH = {"true": 1.0, "false": 0.0}  # as other formats have them
MISSING_CELLS = [*sorted(MISSING), "?"]


class CellReader(Iterator[list[str]]):
    """Rows of cells, from some line of a file on.

    Args:
        file: The file.
        separator: What stands between cells.
        offset: Bytes of the text before the line.
        line: Its number, counted from 1.

    Attributes:
        offset: Bytes of the text before the next line.
        line: Its number.
    """

    def __init__(self, file: TextFile, separator: str, offset: int = 0, line: int = 1) -> None:
        self._path, self.offset, self.line = file.path, offset, line
        lines = self._lines(file.opened_at(offset))
        self._reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)

    def __next__(self) -> list[str]:
        """Return the next row.

        Raises:
            InputError: It is no row of a text file; the message names the line.
        """
        try:
            return next(self._reader)
        except csv.Error as error:
            raise bad(self._path, f"line {self.line - 1}: {error}.") from error

    def blocks(self, width: int) -> Iterator[tuple[list[list[str]], list[int]]]:
        """Yield some rows at a time, all of one width, and the line on which each ends.

        Raises:
            InputError: A row has another width, or as for one row.
        """
        at_once = max(1, min(_ROWS, _CELLS // width))
        while True:
            rows, lines = list[list[str]](), list[int]()
            for row in islice(self, at_once):
                lines.append(self.line - 1)
                if row and len(row) != width:
                    problem = f"line {lines[-1]} has {len(row)} cells, expected {width}."
                    raise bad(self._path, problem)
                rows.append(row)
            if not rows:
                return
            filled = [at for at, row in enumerate(rows) if row]  # the others are blank lines
            yield [rows[at] for at in filled], [lines[at] for at in filled]

    def _lines(self, file: Any) -> Iterator[str]:
        longest, held = text_file.LONGEST_LINE, b""
        for piece in iter(partial(file.readline, longest), b""):
            lines = (held + piece).splitlines(keepends=True)
            held = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
            yield from map(self._text, lines)
            if len(held) >= longest:
                problem = f"line {self.line} has more than {longest:,} characters."
                raise bad(self._path, problem)
        if held:
            yield self._text(held)

    def _text(self, line: bytes) -> str:
        try:
            text = line.decode("utf-8-sig" if self.offset == 0 else "utf-8")
        except UnicodeDecodeError as error:
            raise bad(self._path, f"line {self.line}{_not_text(line, error)}") from error
        if "\0" in text:
            raise bad(self._path, f"line {self.line} holds a NUL byte, expected text.")
        self.offset += len(line)
        self.line += 1
        return text


def _not_text(line: bytes, error: UnicodeDecodeError) -> str:
    before = line[: error.start].decode("utf-8-sig")[-20:]
    return (
        f" is not UTF-8 text (byte 0x{line[error.start]:x} after {before!r}). Say "
        f"{option('data.encoding', 'cp1252')} where Excel or another program of Windows wrote it, "
        "another encoding where letters look wrong then, or save it as UTF-8."
    )


def numbers_of_texts(
    path: str,
    name: str,
    column: Any,
    place: Place,
    decimals: Sequence[str],
    settled: str | None,
    missing: bool,
) -> tuple[Any, str | None]:
    """Return a column of texts as numbers, and the decimal sign as far as it is known.

    Args:
        path: The file, for messages.
        name: Of the column.
        column: The texts.
        place: Says where a row is.
        decimals: Decimal signs that they may have.
        settled: The one that other cells have, or None.
        missing: Whether cells may be empty, or words for it.

    Raises:
        InputError: A text is no number.
    """
    texts: list[str | None] = column.to_pylist()
    if missing:
        texts = [None if text is None or text.strip() in MISSING_CELLS else text for text in texts]
    if all(text is None or text.strip().lower() in _TRUTH for text in texts):
        truths = [np.nan if text is None else _TRUTH[text.strip().lower()] for text in texts]
        return arrow.chunked_array([np.array(truths)]), settled
    first_bad = {decimal: _first_bad(texts, decimal) for decimal in decimals}
    for decimal in decimals:
        if first_bad[decimal] == len(texts):
            numbers = [
                np.nan if text is None else float(text.replace(decimal, ".")) for text in texts
            ]
            shown = any(text is not None and decimal in text for text in texts)
            return arrow.chunked_array([np.array(numbers)]), decimal if shown else settled
    decimal = max(first_bad, key=first_bad.__getitem__)  # the sign that most cells have
    row = first_bad[decimal]
    raise bad(path, f"{place(row)}, column {name!r}: {_problem(str(texts[row]), decimal, name)}")


def _first_bad(texts: Sequence[str | None], decimal: str) -> int:
    """Return the row of the first text that is no number; their count if each is one."""
    wrong = (
        row for row, text in enumerate(texts) if text is not None and not is_number(text, decimal)
    )
    return next(wrong, len(texts))


def _problem(text: str, decimal: str, name: str) -> str:
    if text.strip() in MISSING_CELLS:
        found = f"{text[:40]!r} is no number" if text.strip() else "empty cell"
        return f"{found}. {fill(name)}"
    other = "," if decimal == "." else "."
    if is_number(text, other):
        return (
            f"{text[:40]!r} is not a number. Say {option('data.decimal', other)} where it is one."
        )
    if text.lstrip().startswith("["):
        return f"{text[:40]!r} is a list. Where a row is a sequence, save it as .parquet instead."
    return f"{text[:40]!r} is not a number.{advice(name)}"


def is_number(text: str, decimal: str) -> bool:
    """Return whether a text is a number with this decimal sign."""
    if decimal != ".":
        if "." in text:  # between thousands, or of a date
            return False
        text = text.replace(decimal, ".")
    try:
        float(text)
    except ValueError:
        return False
    # float() takes 1_000 for a number, which no other reader of the file would
    return "_" not in text
