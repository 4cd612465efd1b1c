"""Long tables in Parquet files, by pyarrow."""

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


def read_parquet(path: str, columns: Columns) -> Raw:
    """Read a Parquet file.

    Raises:
        InputError: pyarrow is not installed, the file is damaged, or a column or cell is wrong;
            the message names row (counted from 1) and column.
    """
    arrow, parquet = extra("pyarrow", "data", path), extra("pyarrow.parquet", "data", path)
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            layout = find_columns(path, names, columns)
            used = {layout.sequence, layout.time, layout.label, *layout.features} - {None}
            table = file.read(columns=[names[i] for i in used if i is not None])
        if not table.num_rows:
            raise bad(path, "has columns but no rows.")
        rows = _rows(path, arrow, table, layout)
    except InputError:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        # ValueError: text in the file that is not UTF-8
        raise bad(path, f"is damaged or cut short ({error}).") from error
    return padded(path, rows, columns)


def _rows(path: str, arrow: Any, table: Any, layout: Layout) -> Rows:
    names = layout.names
    numbers = [_numbers(path, arrow, names[i], table[names[i]]) for i in layout.features]
    return Rows(
        _texts(path, arrow, names[layout.sequence], table),
        None if layout.label is None else _texts(path, arrow, names[layout.label], table),
        None if layout.time is None else _times(path, arrow, names[layout.time], table),
        as_float32(np.stack(numbers, axis=1)),
        layout,
        _place,
    )


def _place(row: int) -> str:
    return f"row {row + 1}"


def _numbers(path: str, arrow: Any, name: str, column: Any) -> NDArray[np.float64]:
    _refuse_nulls(path, name, column)
    kind, types = column.type, arrow.types
    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if not any(test(kind) for test in numeric):
        raise bad(path, f"column {name!r} holds {kind}, expected numbers.")
    # NumPy converts booleans and 16-bit floats, which Arrow does not; with decimals it is reversed.
    if types.is_decimal(kind):
        column = column.cast(arrow.float64())
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _refuse_nulls(path: str, name: str, column: Any) -> None:
    if column.null_count:
        first = int(np.argmax(column.is_null().to_numpy()))
        raise bad(path, f"{_place(first)}, column {name!r}: empty cell ({column.null_count} such).")


def _texts(path: str, arrow: Any, name: str, table: Any) -> Texts:
    column = table[name]
    try:
        texts = column.cast(arrow.string()).fill_null("").combine_chunks().dictionary_encode()
    except arrow.ArrowException as error:
        raise bad(
            path, f"column {name!r} holds {column.type}, expected text or whole numbers."
        ) from error
    return Texts(texts.dictionary.to_pylist(), np.asarray(texts.indices, dtype=np.int64))


def _times(path: str, arrow: Any, name: str, table: Any) -> NDArray[Any]:
    column = table[name]
    _refuse_nulls(path, name, column)
    if arrow.types.is_string(column.type) or arrow.types.is_large_string(column.type):
        return parse_times(path, column.to_pylist(), _place)
    times = column.to_numpy()
    if times.dtype.kind in "Mm":
        times = times.astype(np.int64)
    if times.dtype.kind not in "iuf" or np.isnan(times).any():
        raise bad(path, f"column {name!r} holds {column.type}, expected finite numbers or times.")
    return np.asarray(times)
