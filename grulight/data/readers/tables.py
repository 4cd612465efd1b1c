"""Tables of any kind and size, one row per time step, as rows of whole sequences."""

import math
from collections.abc import Callable, Iterator

import pyarrow as arrow

from grulight.data.readers.checks import bad
from grulight.data.readers.csv_table import CSVTable
from grulight.data.readers.long_table import padded_sequences
from grulight.data.readers.parquet_table import ParquetTable
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.table_columns import ColumnNames
from grulight.data.readers.table_rows import Rows, rows_of_whole_sequences
from grulight.errors import InputError

TABLES = (".csv", ".parquet")


def is_table(source: str) -> bool:
    """Return whether a source is a table by its name."""
    return source.lower().endswith(TABLES)


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
        table = (ParquetTable if path.lower().endswith(".parquet") else CSVTable)(path, columns)
        if isinstance(table, ParquetTable):
            table.require_room(at_once)
        yield from rows_of_whole_sequences(path, table.blocks(), table.layout, at_once, seen)
    except InputError:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        # ValueError: text in the file that is not UTF-8
        raise bad(path, f"is damaged or cut short ({error}).") from error
