"""Long tables in CSV files, by the standard library's reader."""

import csv
import io
import math
import os
from _csv import Reader
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.checks import Raw, as_float32, bad
from grulight.data.readers.digits import Digits
from grulight.data.readers.hints import advice
from grulight.data.readers.long_table import (
    Columns,
    Layout,
    Rows,
    Texts,
    bounded,
    find_columns,
    padded,
)
from grulight.data.readers.times import parse_times

_LONGEST_LINE = 1 << 26  # characters: one without an end would fill the memory
_CELLS = 1 << 20  # parsed at once, in a table of many columns
# Rows parsed at once. Their cells should stay in the processor's cache: 65536 take twice as long.
_BLOCK = 1024


def read_csv(path: str, columns: Columns) -> Raw:
    """Read a CSV file, UTF-8 with or without a byte order mark.

    Raises:
        InputError: The file or a cell of it is wrong; the message names line and column.
    """
    [rows] = csv_rows(path, columns)
    return padded(path, rows, columns)


def csv_rows(
    path: str,
    columns: Columns,
    at_once: float = math.inf,
    seen: Callable[[float], None] = lambda share: None,
) -> Iterator[Rows]:
    """Yield the rows of whole sequences: at least ``at_once`` rows, but for the last time.

    Args:
        path: The file.
        columns: What its columns are called.
        at_once: Where rows of a sequence follow each other, no more are held than these and one
            sequence.
        seen: Called with the share of the file that was read.

    Raises:
        InputError: As ``read_csv``.
    """
    size = os.path.getsize(path)
    try:
        with (
            open(path, "rb") as bytes_read,
            io.TextIOWrapper(bytes_read, encoding="utf-8-sig", newline="") as file,
        ):
            reader = csv.reader(_lines(path, file), strict=True, skipinitialspace=True)
            try:
                for rows in _rows(path, reader, columns, at_once):
                    seen(bytes_read.tell() / size)
                    yield rows
            except csv.Error as error:
                raise bad(path, f"line {reader.line_num}: {error}.") from error
    except UnicodeDecodeError as error:
        raise bad(path, f"line {_undecodable_line(path)} is not UTF-8 text.") from error


def _rows(path: str, reader: Reader, columns: Columns, at_once: float) -> Iterator[Rows]:
    header = next(reader, None)
    if not header:
        raise bad(path, "line 1: expected a header with the names of the columns.")
    layout = find_columns(path, [name.strip() for name in header], columns)
    if at_once < math.inf:
        at_once = bounded(at_once, layout)
    gathering = _Gathering(path, layout)
    for cells, lines in _blocks(path, reader, len(header)):
        ids = cells[layout.sequence]
        if len(gathering.lines) >= at_once and ids[-1] != gathering.last:
            # the sequence that the block ends with may go on in the next one
            start = len(ids) - 1
            while start and ids[start - 1] == ids[-1]:
                start -= 1
            if start:
                gathering.add([column[:start] for column in cells], lines[:start])
            yield gathering.rows()
            gathering = _Gathering(path, layout)
            cells, lines = [column[start:] for column in cells], lines[start:]
        gathering.add(cells, lines)
    if not gathering.lines:
        raise bad(path, "has a header but no rows.")
    yield gathering.rows()


def _blocks(
    path: str, reader: Reader, width: int
) -> Iterator[tuple[Sequence[Sequence[str]], list[int]]]:
    """Yield the columns of one block of rows after another, and the line of each row."""
    while True:
        rows, lines = [], []
        for row in islice(reader, max(1, min(_BLOCK, _CELLS // width))):
            if len(row) != width:
                if not row:  # a blank line
                    continue
                raise bad(path, f"line {reader.line_num} has {len(row)} cells, expected {width}.")
            rows.append(row)
            lines.append(reader.line_num)
        if not rows:
            return
        yield list(zip(*rows, strict=True)), lines


class _Gathering:
    """Blocks of rows that become one."""

    def __init__(self, path: str, layout: Layout) -> None:
        self._path, self._layout = path, layout
        self._blocks: list[NDArray[np.float32]] = []
        self._sequences, self._labels, self._times = _Coder(), _Coder(), list[str]()
        self._digits = Digits(len(layout.features))
        self.lines: list[int] = []
        self.last = ""  # sequence

    def add(self, cells: Sequence[Sequence[str]], lines: list[int]) -> None:
        layout = self._layout
        exact = _numbers(self._path, cells, layout, lines)
        self._blocks.append(as_float32(exact))
        self._digits.add(exact, self._blocks[-1])
        self._sequences.add(cells[layout.sequence])
        if layout.label is not None:
            self._labels.add(cells[layout.label])
        if layout.time is not None:
            self._times.extend(cells[layout.time])
        self.lines.extend(lines)
        self.last = cells[layout.sequence][-1]

    def rows(self) -> Rows:
        layout = self._layout

        def place(row: int) -> str:
            return f"line {self.lines[row]}"

        return Rows(
            self._sequences.texts(),
            None if layout.label is None else self._labels.texts(),
            None if layout.time is None else parse_times(self._path, self._times, place),
            np.concatenate(self._blocks),
            layout,
            place,
            self._digits.notes(self._path, [layout.names[i] for i in layout.features]),
        )


def _numbers(
    path: str, cells: Sequence[Sequence[str]], layout: Layout, lines: Sequence[int]
) -> NDArray[np.float64]:
    numbers = np.empty((len(lines), len(layout.features)))
    for target, column in enumerate(layout.features):
        texts = cells[column]
        # float() takes 1_000 for a number, which no other reader of the file would.
        if "_" in "".join(texts):
            _refuse_cell(path, texts, layout.names[column], lines)
        try:
            numbers[:, target] = np.fromiter(map(float, texts), np.float64, len(texts))
        except ValueError:
            _refuse_cell(path, texts, layout.names[column], lines)
    return numbers


def _refuse_cell(path: str, texts: Sequence[str], column: str, lines: Sequence[int]) -> None:
    for text, line in zip(texts, lines, strict=True):
        if not _is_number(text):
            problem = f"{text[:40]!r} is not a number" if text.strip() else "empty cell"
            raise bad(path, f"line {line}, column {column!r}: {problem}.{advice(column)}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _lines(path: str, file: TextIO) -> Iterator[str]:
    lines = iter(partial(file.readline, _LONGEST_LINE), "")
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise bad(path, f"line {number} holds a NUL byte, expected text.")
        if len(line) == _LONGEST_LINE:
            raise bad(path, f"line {number} has more than {_LONGEST_LINE:,} characters.")
        yield line


def _undecodable_line(path: str) -> int:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


class _Coder:
    """Numbers texts in order of first appearance."""

    def __init__(self) -> None:
        self._index: defaultdict[str, int] = defaultdict()
        self._index.default_factory = self._index.__len__
        self._codes: list[NDArray[np.int64]] = []

    def add(self, texts: Sequence[str]) -> None:
        codes = map(self._index.__getitem__, texts)
        self._codes.append(np.fromiter(codes, np.int64, len(texts)))

    def texts(self) -> Texts:
        return Texts(list(self._index), np.concatenate(self._codes))
