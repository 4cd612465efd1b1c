"""Long tables in Parquet files, by pyarrow."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.checks import Raw, as_float32, bad
from grulight.data.readers.table import (
    Columns,
    Layout,
    Rows,
    Texts,
    find_columns,
    padded,
)
from grulight.data.readers.times import parse_times
from grulight.errors import InputError
from grulight.extras import extra

_BATCH = 1 << 14  # rows decoded at once
_BUFFER = 1 << 16  # bytes read at once from each column
Place = Callable[[int], str]


def read_parquet(path: str, columns: Columns) -> Raw:
    """Read a Parquet file.

    Raises:
        InputError: pyarrow is not installed, the file is damaged, or a column or cell is wrong;
            the message names row (counted from 1) and column.
    """
    [rows] = parquet_rows(path, columns)
    return padded(path, rows, columns)


def parquet_rows(
    path: str,
    columns: Columns,
    at_once: float = math.inf,
    seen: Callable[[float], None] = lambda share: None,
) -> Iterator[Rows]:
    """Yield the rows of whole sequences; see ``csv_rows``.

    Raises:
        InputError: As ``read_parquet``.
    """
    arrow, parquet = extra("pyarrow", "data", path), extra("pyarrow.parquet", "data", path)
    try:
        # without these two a whole row group would be read at once
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
            layout = find_columns(path, file.schema_arrow.names, columns)
            total = file.metadata.num_rows
            if not total:
                raise bad(path, "has columns but no rows.")
            first = 0
            for table in _tables(path, arrow, file, layout, at_once):
                yield _rows(path, arrow, table, layout, first)
                first += table.num_rows
                seen(first / total)
    except InputError:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        # ValueError: text in the file that is not UTF-8
        raise bad(path, f"is damaged or cut short ({error}).") from error


def _tables(path: str, arrow: Any, file: Any, layout: Layout, at_once: float) -> Iterator[Any]:
    """Yield tables that end where a sequence does."""
    used = {layout.sequence, layout.time, layout.label, *layout.features} - {None}
    names = [layout.names[i] for i in used if i is not None]
    if at_once == math.inf:
        yield file.read(columns=names)
        return
    sequence = layout.names[layout.sequence]
    held: list[Any] = []
    for batch in file.iter_batches(batch_size=_BATCH, columns=names, use_threads=False):
        table = arrow.Table.from_batches([batch])
        if sum(part.num_rows for part in held) >= at_once:
            pair = arrow.concat_tables([held[-1].slice(held[-1].num_rows - 1), table])
            # the sequence that the table ends with may go on in the next one
            changes = np.flatnonzero(np.diff(_texts(path, arrow, sequence, pair).codes))
            if len(changes):
                yield arrow.concat_tables([*held, table.slice(0, changes[-1])])
                held, table = [], table.slice(changes[-1])
        held.append(table)
    yield arrow.concat_tables(held)


def _rows(path: str, arrow: Any, table: Any, layout: Layout, first: int) -> Rows:
    def place(row: int) -> str:
        return f"row {first + row + 1}"

    names = layout.names
    numbers = [_numbers(path, arrow, names[i], table[names[i]], place) for i in layout.features]
    return Rows(
        _texts(path, arrow, names[layout.sequence], table),
        None if layout.label is None else _texts(path, arrow, names[layout.label], table),
        None if layout.time is None else _times(path, arrow, names[layout.time], table, place),
        as_float32(np.stack(numbers, axis=1)),
        layout,
        place,
    )


def _numbers(path: str, arrow: Any, name: str, column: Any, place: Place) -> NDArray[np.float64]:
    _refuse_nulls(path, name, column, place)
    kind, types = column.type, arrow.types
    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if not any(test(kind) for test in numeric):
        raise bad(path, f"column {name!r} holds {kind}, expected numbers.")
    # NumPy converts booleans and 16-bit floats, which Arrow does not; with decimals it is reversed.
    if types.is_decimal(kind):
        column = column.cast(arrow.float64())
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _refuse_nulls(path: str, name: str, column: Any, place: Place) -> None:
    if column.null_count:
        first = int(np.argmax(column.is_null().to_numpy()))
        raise bad(path, f"{place(first)}, column {name!r}: empty cell ({column.null_count} such).")


def _texts(path: str, arrow: Any, name: str, table: Any) -> Texts:
    column = table[name]
    try:
        texts = column.cast(arrow.string()).fill_null("").combine_chunks().dictionary_encode()
    except arrow.ArrowException as error:
        raise bad(
            path, f"column {name!r} holds {column.type}, expected text or whole numbers."
        ) from error
    return Texts(texts.dictionary.to_pylist(), np.asarray(texts.indices, dtype=np.int64))


def _times(path: str, arrow: Any, name: str, table: Any, place: Place) -> NDArray[Any]:
    column = table[name]
    _refuse_nulls(path, name, column, place)
    if arrow.types.is_string(column.type) or arrow.types.is_large_string(column.type):
        return parse_times(path, column.to_pylist(), place)
    times = column.to_numpy()
    if times.dtype.kind in "Mm":
        times = times.astype(np.int64)
    if times.dtype.kind not in "iuf" or np.isnan(times).any():
        raise bad(path, f"column {name!r} holds {column.type}, expected finite numbers or times.")
    return np.asarray(times)
