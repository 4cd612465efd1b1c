"""Tables of any kind and size as rows of whole sequences."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import pyarrow as arrow

from grulight.data.readers.csv_table import CSVTable
from grulight.data.readers.long_table import padded_sequences
from grulight.data.readers.messages import bad
from grulight.data.readers.offsets import require_fit
from grulight.data.readers.one_series import as_one_series
from grulight.data.readers.parquet_table import ParquetTable
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.row_each import RowEach
from grulight.data.readers.table_blocks import Block, Wanted
from grulight.data.readers.table_columns import ColumnNames, Layout, find_columns
from grulight.data.readers.table_rows import Rows, rows_of_whole_sequences
from grulight.data.readers.wide_columns import find_grid
from grulight.data.readers.xlsx_table import XLSXTable
from grulight.errors import InputError, option


class Table(Protocol):
    """A table that is open."""

    @property
    def names(self) -> Sequence[str]:
        """Names of its columns."""

    @property
    def indices(self) -> Sequence[str]:
        """Names of those that are an index of pandas."""

    @property
    def nested(self) -> Sequence[str]:
        """Names of those whose cells are lists."""

    @property
    def is_series(self) -> bool:
        """Whether there is no header, and each row is a label and a series."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of it, a line each."""

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """Yield its rows."""


def read_table(path: str, columns: ColumnNames) -> RawSequences:
    """Read a table.

    Raises:
        InputError: The file is damaged, or a column or cell is wrong; the message names line or
            row (counted from 1) and column.
    """
    [rows] = table_rows(path, columns)
    return padded_sequences(path, rows, columns)


def table_rows(
    path: str,
    columns: ColumnNames,
    at_once: float = math.inf,
    seen: Callable[[float], None] = lambda share: None,
) -> Iterator[Rows]:
    """Yield the rows of whole sequences; see ``rows_of_whole_sequences``.

    Raises:
        InputError: As ``read_table``.
    """
    try:
        yield from rows_of_table(path, _opened(path, columns), columns, at_once, seen)
    except InputError:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        # ValueError: text in the file that is not UTF-8
        other = f", or no {columns.encoding} text" if columns.encoding else ""
        raise bad(path, f"is damaged or cut short{other} ({error}).") from error


def rows_of_table(
    path: str,
    table: Table,
    columns: ColumnNames,
    at_once: float,
    seen: Callable[[float], None] = lambda share: None,
) -> Iterator[Rows]:
    """Yield the rows of a table that is open; see ``table_rows``."""
    layout, blocks = _long(path, table, columns, at_once)
    yield from rows_of_whole_sequences(path, blocks, layout, at_once, seen, missing=columns.missing)


def _opened(path: str, columns: ColumnNames) -> Table:
    if path.lower().endswith(".parquet"):
        return ParquetTable(path, columns)
    return (XLSXTable if path.lower().endswith(".xlsx") else CSVTable)(path, columns)


def _long(
    path: str, table: Table, columns: ColumnNames, at_once: float
) -> tuple[Layout, Iterator[Block]]:
    """Return the columns and the rows of a table, one row per time step."""
    if table.is_series:
        columns = replace(columns, layout="wide", label="label" if columns.label else None)
    uses = {columns.sequence, columns.time, columns.label, columns.group, columns.weight}
    wide, nested = columns.layout == "wide", bool(set(table.nested) - uses)
    layout = find_columns(path, table.names, columns, table.indices, row_each=wide or nested)
    layout = replace(layout, notes=(*table.notes, *layout.notes))
    each = None
    numbers = list(layout.features)
    if wide:
        grid = find_grid(path, layout, columns)
        numbers = grid.columns.ravel().tolist()
        each = RowEach(path, layout, grid.features, grid)
    elif nested:
        each = RowEach(path, layout, [layout.names[i] for i in layout.features], None)
    if each and columns.targets.per_step:
        raise bad(
            path,
            f"has one row per sequence, and so no labels of steps ({option('data.per_step')}).",
        )
    named = (layout.sequence, layout.label, layout.group, layout.weight)
    texts = [column for column in named if column is not None]
    wanted = Wanted(numbers, texts, layout.time, missing=wide or columns.missing)
    if isinstance(table, ParquetTable):
        table.require_room(wanted, at_once)
    blocks = table.blocks(wanted)
    if each:
        layout, blocks = each.long, each.blocks(blocks)
    elif layout.sequence is None:
        layout, blocks = as_one_series(layout, blocks)
    require_fit(path, columns.offset, [layout.names[i] for i in layout.features])
    return replace(layout, offset=columns.offset), blocks
