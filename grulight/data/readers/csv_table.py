"""Long tables in CSV files, by the standard library's reader."""

import csv
import io
import math
import os
from _csv import Reader
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TextIO

from grulight.data.readers.checks import bad
from grulight.data.readers.csv_columns import GatheredRows
from grulight.data.readers.long_table import padded_sequences
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.table_columns import ColumnNames, find_columns, limit_rows
from grulight.data.readers.table_rows import Rows

_LONGEST_LINE = 1 << 26  # characters: one without an end would fill the memory
_CELLS = 1 << 20  # parsed at once, in a table of many columns
# Rows parsed at once. Their cells should stay in the processor's cache: 65536 take twice as long.
_BLOCK = 1024


def read_csv(path: str, columns: ColumnNames) -> RawSequences:
    """Read a CSV file, UTF-8 with or without a byte order mark.

    Raises:
        InputError: The file or a cell of it is wrong; the message names line and column.
    """
    [rows] = csv_rows(path, columns)
    return padded_sequences(path, rows, columns)


def csv_rows(
    path: str,
    columns: ColumnNames,
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


def _rows(path: str, reader: Reader, columns: ColumnNames, at_once: float) -> Iterator[Rows]:
    header = next(reader, None)
    if not header:
        raise bad(path, "line 1: expected a header with the names of the columns.")
    layout = find_columns(path, [name.strip() for name in header], columns)
    if at_once < math.inf:
        at_once = limit_rows(at_once, layout)
    gathering = GatheredRows(path, layout)
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
            gathering = GatheredRows(path, layout)
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
