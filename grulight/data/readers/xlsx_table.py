"""Spreadsheets, of which the first sheet is read."""

import datetime
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as arrow

from grulight.data.readers.csv_cells import MISSING_CELLS
from grulight.data.readers.hints import advice, fill, with_index_name
from grulight.data.readers.memory import require_memory
from grulight.data.readers.messages import bad
from grulight.data.readers.table_blocks import Block, Wanted
from grulight.data.readers.table_columns import ColumnNames
from grulight.errors import listed
from grulight.extras import extra


class XLSXTable:
    """The first sheet of a spreadsheet, whose first row has the names of the columns.

    Args:
        path: The file.
        columns: Not asked for anything.

    Raises:
        InputError: python-calamine is not installed, or cannot read the file.
    """

    indices: Sequence[str] = ()
    nested: Sequence[str] = ()
    notes: tuple[str, ...] = ()
    is_series = False

    def __init__(self, path: str, columns: ColumnNames) -> None:
        self._path = path
        calamine: Any = extra("python_calamine", "data", path)
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(info.file_size for info in archive.infolist())
            # cells become Python objects
            require_memory(path, "the sheet", 4 * size, "Save it as .csv.")
            book = calamine.CalamineWorkbook.from_path(path)
            rows: list[list[Any]] = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
        except (calamine.CalamineError, zipfile.BadZipFile) as error:
            raise bad(path, f"is damaged or no spreadsheet ({error}).") from error
        first, *others = book.sheet_names
        if others:
            said = f"{path}: of its sheets the first is read, {first!r}, and not {listed(others)}."
            self.notes = (said,)
        if not rows:
            raise bad(path, "row 1: expected a header with the names of the columns.")
        self.names = with_index_name([_text(cell).strip() for cell in rows[0]])
        self._rows = [
            (number, row)
            for number, row in enumerate(rows[1:], start=2)
            if any(cell != "" for cell in row)
        ]

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """Yield its rows.

        Raises:
            InputError: There are none, or a cell of a feature is no number.
        """
        if not self._rows:
            raise bad(self._path, "has a header but no rows.")
        columns = {
            at: arrow.chunked_array([arrow.array(self._numbers(at, missing=wanted.missing))])
            for at in wanted.numbers
        }
        for at in (*wanted.texts, wanted.time):
            if at is not None:
                texts = [_text(row[at]) for _, row in self._rows]
                columns[at] = arrow.chunked_array([arrow.array(texts, arrow.string())])
        places = [f"row {number}" for number, _ in self._rows]
        yield Block(columns, len(places), places.__getitem__, 1.0)

    def _numbers(self, at: int, *, missing: bool) -> Sequence[float]:
        return [self._number(number, row[at], at, missing) for number, row in self._rows]

    def _number(self, row: int, cell: Any, at: int, missing: bool) -> float:
        if isinstance(cell, int | float):
            return float(cell)
        name, text = self.names[at], _text(cell)
        if missing and text.strip() in MISSING_CELLS:
            return float("nan")
        problem = f"{text[:40]!r} is not a number.{advice(name)}"
        if not text.strip():
            problem = f"empty cell. {fill(name)}"
        raise bad(self._path, f"row {row}, column {name!r}: {problem}")


def _text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():  # every number of a sheet is one
        return str(int(cell))
    if isinstance(cell, datetime.date):
        return cell.isoformat()
    return str(cell)
