"""Long tables as text: cells separated by a sign, parsed by Arrow."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as arrow
from pyarrow import csv as arrow_csv

from grulight.data.readers.arrow_columns import Place
from grulight.data.readers.checks import bad
from grulight.data.readers.csv_cells import CellReader, numbers_of_texts
from grulight.data.readers.table_columns import ColumnNames, find_columns
from grulight.data.readers.table_rows import Block
from grulight.data.readers.text_file import TextBlock, TextFile, is_well_quoted

_EACH_ONCE = arrow.dictionary(arrow.int32(), arrow.string())  # texts


class CSVTable:
    """A text file with a header, UTF-8 with or without a byte order mark.

    Args:
        path: The file.
        columns: What its columns are called.

    Raises:
        InputError: The header is wrong.
    """

    def __init__(self, path: str, columns: ColumnNames) -> None:
        self._path = path
        self._separator = ","
        with TextFile(path) as file:
            cells = CellReader(file, self._separator)
            header = next(cells, None)
            self._offset = cells.offset
        if not header:
            raise bad(path, "line 1: expected a header with the names of the columns.")
        self.layout = find_columns(path, [name.strip() for name in header], columns)
        used = (self.layout.sequence, self.layout.label, self.layout.time)
        self._texts = [column for column in used if column is not None]

    def blocks(self) -> Iterator[Block]:
        """Yield its rows.

        Raises:
            InputError: A line or a cell is wrong; the message names line and column.
        """
        count = 0
        with TextFile(self._path) as file:
            for block in self._parsed(file):
                count += block.count
                if block.count:
                    yield block
        if not count:
            raise bad(self._path, "has a header but no rows.")

    def _parsed(self, file: TextFile) -> Iterator[Block]:
        for text in file.blocks(self._offset):
            block = self._by_arrow(text)
            if block is None:
                # Arrow takes for text what is an error, and knows no lines: the rest cell by cell
                yield from self._cell_by_cell(file, text)
                return
            yield block

    def _by_arrow(self, text: TextBlock) -> Block | None:
        data = _without_spaces(text.data, self._separator)
        if data is None:
            return None
        try:
            table = self._table(data, arrow.float64())
        except arrow.ArrowInvalid:
            try:
                table = self._table(data, arrow.string())
            except arrow.ArrowInvalid:
                return None
        columns = {int(name): table[name] for name in table.column_names}

        def place(row: int) -> str:
            return f"line {self._line_of(row, text)}"

        return self._block(columns, table.num_rows, place, text.share)

    def _line_of(self, row: int, text: TextBlock) -> int:
        """Return the line on which a row of a block ends."""
        with TextFile(self._path) as file:
            line = file.line_at(text.offset)
            # rows may be more than one line apart
            reader = CellReader(file, self._separator, text.offset, line)
            filled = (reader.line - 1 for cells in reader if cells)
            return next(islice(filled, row, None))

    def _table(self, data: bytes, features: Any) -> Any:
        names = list(map(str, range(len(self.layout.names))))
        types = dict.fromkeys(map(str, self.layout.features), features)
        types |= dict.fromkeys(
            map(str, self._texts), arrow.dictionary(arrow.int32(), arrow.string())
        )
        if self.layout.time is not None:
            types[str(self.layout.time)] = arrow.string()
        return arrow_csv.read_csv(
            arrow.py_buffer(data),
            arrow_csv.ReadOptions(column_names=names, block_size=len(data) + 1),
            arrow_csv.ParseOptions(delimiter=self._separator, newlines_in_values=b'"' in data),
            arrow_csv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=[], check_utf8=False
            ),
        )

    def _cell_by_cell(self, file: TextFile, text: TextBlock) -> Iterator[Block]:
        line = file.line_at(text.offset)
        reader = CellReader(file, self._separator, text.offset, line)
        for rows, lines in reader.blocks(len(self.layout.names)):
            cells = list(zip(*rows, strict=True))
            used = {*self._texts, *self.layout.features}
            columns = {at: arrow.chunked_array([arrow.array(cells[at])]) for at in used}
            places = [f"line {line}" for line in lines]
            yield self._block(columns, len(rows), places.__getitem__, file.share)

    def _block(self, columns: dict[int, Any], count: int, place: Place, share: float) -> Block:
        for at in self.layout.features:
            if arrow.types.is_string(columns[at].type):
                name = self.layout.names[at]
                columns[at] = numbers_of_texts(self._path, name, columns[at], place)
        return Block(columns, count, place, share)


def _without_spaces(data: bytes, separator: str) -> bytes | None:
    """Return lines without spaces before cells; None where they are nothing for Arrow."""
    if b"\0" in data or (b'"' in data and not is_well_quoted(data, separator)):
        return None
    try:
        data.isascii() or data.decode()
    except UnicodeDecodeError:
        return None
    if b" " not in data:  # which is quicker to ask than what follows
        return data
    sign = separator.encode()
    spaced = sign + b" "
    if data.startswith(b" ") or b"\n " in data or b"\r " in data:
        return None
    if spaced in data and b'"' in data:
        return None
    while spaced in data:
        data = data.replace(spaced, sign)
    return data
