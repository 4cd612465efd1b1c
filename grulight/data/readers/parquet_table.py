"""Long tables in Parquet files."""

from collections.abc import Iterator
from typing import Any

import pyarrow as arrow
from pyarrow import parquet

from grulight.data.readers.hints import pandas_index
from grulight.data.readers.memory import require_memory
from grulight.data.readers.messages import bad
from grulight.data.readers.row_each import is_nested
from grulight.data.readers.table_blocks import Block, Wanted
from grulight.data.readers.table_columns import ColumnNames

_BATCH = 1 << 14  # rows decoded at once
_CELLS = 1 << 24  # likewise, in a table of many columns
_BUFFER = 1 << 16  # bytes read at once from each column


class ParquetTable:
    """A Parquet file.

    Args:
        path: The file.
        columns: What its columns are called.

    Attributes:
        names: Of its columns.
        indices: Of those that pandas says were an index.
        nested: Names of the columns whose cells are lists.

    Raises:
        InputError: There are no rows.
    """

    is_series = False
    notes: tuple[str, ...] = ()

    def __init__(self, path: str, columns: ColumnNames) -> None:
        self._path, self._columns = path, columns
        with self._opened() as file:
            schema = file.schema_arrow
            self.names, self.indices = schema.names, pandas_index(schema)
            self.nested = [field.name for field in schema if is_nested(field.type)]
            groups = range(file.metadata.num_row_groups)
            self._count = sum(file.metadata.row_group(group).num_rows for group in groups)
        if not self._count:
            raise bad(path, "has columns but no rows.")

    def _opened(self) -> Any:
        """Open the file so that columns of text keep each text once, however often it comes."""
        metadata = parquet.read_metadata(self._path)
        paths = {metadata.schema.column(at).path for at in range(metadata.num_columns)}
        columns = self._columns
        return parquet.ParquetFile(
            self._path,
            metadata=metadata,
            read_dictionary=list(paths & {columns.sequence, columns.time, columns.label}),
            pre_buffer=False,  # with it a whole row group would be read at once
            buffer_size=_BUFFER,
        )

    def require_room(self, wanted: Wanted, rows: float) -> None:
        """Refuse what would not fit into memory: a few bytes may stand for any number of rows.

        Raises:
            InputError: Half of what is free would not hold so many rows.
        """
        # Numbers as float32 in blocks, together, and in order; codes, times and the order of the
        # rows. Sizes of column chunks are not asked for: where their metadata is damaged, pyarrow
        # ends the process.
        width = len(wanted.numbers)
        size = int(min(rows, self._count)) * (16 * width + 64)
        remedy = "Write it with `grulight pack`, or use less of it."
        what = f"{int(min(rows, self._count)):,} rows of {width:,} features"
        require_memory(self._path, what, size, remedy)

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """Yield its rows.

        Raises:
            InputError: The file is damaged.
        """
        used = wanted.columns
        size = max(1, min(_BATCH, _CELLS // len(used)))
        names = [self.names[at] for at in used]
        with self._opened() as file:
            batches = file.iter_batches(size, columns=names, use_threads=False)
            yield from arrow_blocks(batches, dict(zip(used, names, strict=True)), self._count)


def arrow_blocks(batches: Iterator[Any], names: dict[int, str], count: int) -> Iterator[Block]:
    """Yield Arrow's batches as blocks.

    Args:
        batches: They.
        names: Names of columns by their positions.
        count: Rows of all batches.
    """
    first = 0
    for batch in batches:
        table = arrow.Table.from_batches([batch])
        columns = {at: table[name] for at, name in names.items()}
        place = _Place(first)
        first += table.num_rows
        if table.num_rows:
            yield Block(columns, table.num_rows, place, first / count)


class _Place:
    def __init__(self, first: int) -> None:
        self._first = first

    def __call__(self, row: int) -> str:
        return f"row {self._first + row + 1}"
