"""Data frames of any library, by the interfaces of Arrow."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as arrow

from grulight.data.readers.hints import pandas_index
from grulight.data.readers.messages import bad
from grulight.data.readers.parquet_table import arrow_blocks
from grulight.data.readers.row_each import is_nested
from grulight.data.readers.table_blocks import Block, Wanted


class ArrowTable:
    """A data frame.

    Args:
        source: What it is called in messages.
        frame: It.

    Raises:
        InputError: Arrow cannot hold it, or it has no rows.
    """

    is_series = False
    notes: tuple[str, ...] = ()

    def __init__(self, source: str, frame: Any) -> None:
        try:
            self._table = self._arrow(frame)
        except (arrow.ArrowException, TypeError, ValueError, NotImplementedError) as error:
            raise bad(source, f"cannot be held by Arrow ({error}).") from error
        self.schema = schema = self._table.schema
        self.names: Sequence[str] = schema.names
        self.indices: Sequence[str] = pandas_index(schema)
        self.nested: Sequence[str] = [field.name for field in schema if is_nested(field.type)]
        if not self._table.num_rows:
            raise bad(source, "has columns but no rows.")

    def _arrow(self, frame: Any) -> Any:
        if hasattr(frame, "__arrow_c_stream__"):
            table = arrow.table(frame)
        else:
            from pyarrow.interchange import from_dataframe

            table = from_dataframe(frame)
        types = arrow.types
        for at, field in enumerate(table.schema):
            if types.is_string_view(field.type):  # which few of Arrow's functions know
                table = table.set_column(at, field.name, table[at].cast(arrow.large_string()))
        return table

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """Yield its rows."""
        names = {at: self.names[at] for at in wanted.columns}
        batches = self._table.select(list(names.values())).to_batches(max_chunksize=1 << 16)
        yield from arrow_blocks(iter(batches), names, self._table.num_rows)
