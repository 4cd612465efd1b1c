"""Tables that become a .csv or .parquet file while their rows are made, whole or not at all."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow
from numpy.typing import NDArray
from pyarrow import parquet

from grulight.errors import InputError
from grulight.files import written_whole
from grulight.heads import Columns

SUFFIXES = (".csv", ".parquet")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # first letters of a formula in a spreadsheet
ROW_GROUP = 65_536  # rows of a Parquet file that are read together: smaller ones read slowly


class Table(Protocol):
    """A table that grows."""

    def append(self, columns: Columns) -> None:
        """Add rows."""


@contextmanager
def written_table(path: Path, *, spreadsheet_safe: bool = False) -> Iterator[Table]:
    """Yield a table that becomes a ``.csv`` or ``.parquet`` file, whole or not at all.

    Args:
        path: The file.
        spreadsheet_safe: Whether texts in a ``.csv`` that a spreadsheet would run as a formula get
            a ``'`` before them.

    Raises:
        InputError: The suffix is another one, or the file cannot be written.
    """
    require_table_suffix(path, spreadsheet_safe=spreadsheet_safe)
    with written_whole(path) as temporary:
        columnar = path.suffix == ".parquet"
        with _parquet(temporary) if columnar else _csv(temporary, spreadsheet_safe) as table:
            yield table


@contextmanager
def _csv(path: Path, spreadsheet_safe: bool) -> Iterator[Table]:
    with path.open("w", newline="", encoding="utf-8") as file:
        yield _CSV(csv.writer(file), spreadsheet_safe)


@contextmanager
def _parquet(path: Path) -> Iterator[Table]:
    table = _Parquet(path)
    yield table
    table.close()


class _CSV:
    """Rows of text."""

    def __init__(self, writer: Any, spreadsheet_safe: bool) -> None:
        self._writer, self._safe = writer, spreadsheet_safe
        self._empty = True

    def append(self, columns: Columns) -> None:
        if self._empty:
            self._writer.writerow(columns)
            self._empty = False
        cells = (self._cells(column) for column in columns.values())
        self._writer.writerows(zip(*cells, strict=True))

    def _cells(self, column: NDArray[Any]) -> list[Any]:
        cells: list[Any] = column.tolist()
        if self._safe and column.dtype.kind == "U":  # a number is no formula, also below 0
            return [f"'{text}" if text.startswith(_FORMULA) else text for text in cells]
        return cells


class _Parquet:
    """Row groups of a fair size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Any] = []
        self._rows = 0
        self._writer: Any = None

    def append(self, columns: Columns) -> None:
        arrays = [pyarrow.array(column) for column in columns.values()]
        self._waiting.append(pyarrow.table(arrays, names=list(columns)))
        self._rows += len(arrays[0])
        if self._rows >= ROW_GROUP:
            self._write()

    def _write(self) -> None:
        table = pyarrow.concat_tables(self._waiting)
        self._waiting, self._rows = [], 0
        self._writer = self._writer or parquet.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._waiting:
            self._write()
        self._writer.close()


def require_table_suffix(path: Path, *, spreadsheet_safe: bool = False) -> None:
    """Check that a table can be written under this name, and so.

    Raises:
        InputError: It cannot.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}.")
    if spreadsheet_safe and path.suffix != ".csv":
        raise InputError(f"{path}: --spreadsheet_safe is for a .csv table. Leave it out.")
    if path.is_dir():
        raise InputError(f"{path}: is a directory, expected the name of a file.")
