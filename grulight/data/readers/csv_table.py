"""Tables as text: cells separated by a sign, parsed by Arrow."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as arrow
from pyarrow import compute
from pyarrow import csv as arrow_csv

from grulight.data.readers.arrow_columns import Place
from grulight.data.readers.csv_cells import MISSING_CELLS, CellReader, numbers_of_texts
from grulight.data.readers.csv_header import read_header
from grulight.data.readers.messages import bad
from grulight.data.readers.table_blocks import Block, Wanted
from grulight.data.readers.table_columns import ColumnNames
from grulight.data.readers.text_file import TextBlock, TextFile, is_well_quoted

_EACH_ONCE = arrow.dictionary(arrow.int32(), arrow.string())  # texts


class CSVTable:
    """A text file, also compressed.

    Args:
        path: The file.
        columns: What its columns are called, and how its cells are written.

    Raises:
        InputError: The header is wrong.
    """

    indices: Sequence[str] = ()
    nested: Sequence[str] = ()
    notes: tuple[str, ...] = ()

    def __init__(self, path: str, columns: ColumnNames) -> None:
        self._path, self._encoding = path, columns.encoding
        header = read_header(path, columns)
        self.names, self.is_series = header.names, header.is_series
        self._separator, self._offset = header.separator, header.offset
        # where nobody says it, the first cell that shows it decides
        self._decimal = columns.decimal
        self._label_is_number = columns.targets.kind == "values"

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """Yield its rows.

        Raises:
            InputError: A line or a cell is wrong; the message names line and column.
        """
        count = 0
        with self._opened() as file:
            for block in self._parsed(file, wanted):
                count += block.count
                if block.count:
                    yield block
        if not count:
            raise bad(self._path, "has a header but no rows.")

    def _opened(self) -> TextFile:
        return TextFile(self._path, self._encoding)

    def _parsed(self, file: TextFile, wanted: Wanted) -> Iterator[Block]:
        for text in file.blocks(self._offset):
            block = self._by_arrow(text, wanted)
            if block is None:
                # Arrow takes for text what is an error, and knows no lines: the rest cell by cell
                yield from self._cell_by_cell(file, text, wanted)
                return
            yield block

    def _by_arrow(self, text: TextBlock, wanted: Wanted) -> Block | None:
        data = _without_spaces(text.data, self._separator)
        table = None if data is None else self._table(data, wanted)
        if table is None:
            return None

        def place(row: int) -> str:
            return f"line {self._line_of(row, text)}"

        columns = {int(name): table[name] for name in table.column_names}
        return self._block(columns, wanted, place, text.share)

    def _table(self, data: bytes, wanted: Wanted) -> Any:
        """Return the cells of a block, numbers as texts where Arrow knows some not; or None."""
        for decimal in self._decimals():
            try:
                table = self._read(data, wanted, arrow.float64(), decimal)
            except arrow.ArrowInvalid:
                continue
            if decimal == "," or b"." in data:
                self._decimal = decimal
            return table
        try:
            return self._read(data, wanted, arrow.string(), ".")
        except arrow.ArrowInvalid:
            return None

    def _decimals(self) -> tuple[str, ...]:
        if self._decimal is not None:
            return (self._decimal,)
        return (".",) if self._separator == "," else (".", ",")

    def _read(self, data: bytes, wanted: Wanted, numbers: Any, decimal: str) -> Any:
        names = list(map(str, range(len(self.names))))
        types = dict.fromkeys(map(str, wanted.numbers), numbers)
        types |= dict.fromkeys(map(str, wanted.texts), _EACH_ONCE)
        if wanted.time is not None:
            types[str(wanted.time)] = arrow.string()
        return arrow_csv.read_csv(
            arrow.py_buffer(data),
            arrow_csv.ReadOptions(column_names=names, block_size=len(data) + 1),
            arrow_csv.ParseOptions(delimiter=self._separator, newlines_in_values=b'"' in data),
            arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=MISSING_CELLS if wanted.missing else [],
                check_utf8=False,
                decimal_point=decimal,
            ),
        )

    def _line_of(self, row: int, text: TextBlock) -> int:
        """Return the line on which a row of a block ends."""
        with self._opened() as file:
            line = file.line_at(text.offset)
            # rows may be more than one line apart
            reader = CellReader(file, self._separator, text.offset, line)
            filled = (reader.line - 1 for cells in reader if cells)
            return next(islice(filled, row, None))

    def _cell_by_cell(self, file: TextFile, text: TextBlock, wanted: Wanted) -> Iterator[Block]:
        line = file.line_at(text.offset)
        reader = CellReader(file, self._separator, text.offset, line)
        for rows, lines in reader.blocks(len(self.names)):
            cells = list(zip(*rows, strict=True))
            columns = {at: arrow.chunked_array([arrow.array(cells[at])]) for at in wanted.columns}
            places = [f"line {line}" for line in lines]
            yield self._block(columns, wanted, places.__getitem__, file.share)

    def _block(self, columns: Any, wanted: Wanted, place: Place, share: float) -> Block:
        for at in wanted.numbers:
            if arrow.types.is_string(columns[at].type):
                name, signs = self.names[at], self._decimals()
                columns[at], self._decimal = numbers_of_texts(
                    self._path, name, columns[at], place, signs, self._decimal, wanted.missing
                )
        if self._decimal == ",":
            label = wanted.texts[1:] if self._label_is_number else []
            for at in [*label, *([] if wanted.time is None else [wanted.time])]:
                column = columns[at].cast(arrow.string())
                columns[at] = compute.replace_substring(column, ",", ".")
        count = len(next(iter(columns.values())))
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
