"""Long tables in Parquet files, by pyarrow."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.checks import as_float32, bad
from grulight.data.readers.digits import Digits, merged
from grulight.data.readers.hints import advice, pandas_index
from grulight.data.readers.long_table import padded_sequences
from grulight.data.readers.memory import require_memory
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.table_columns import ColumnNames, Layout, find_columns, limit_rows
from grulight.data.readers.table_rows import Rows, Texts
from grulight.data.readers.times import parse_times
from grulight.errors import InputError
from grulight.extras import extra

_BATCH = 1 << 14  # rows decoded at once
_CELLS = 1 << 24  # likewise, in a table of many columns
_BUFFER = 1 << 16  # bytes read at once from each column
Place = Callable[[int], str]


def read_parquet(path: str, columns: ColumnNames) -> RawSequences:
    """Read a Parquet file.

    Raises:
        InputError: pyarrow is not installed, the file is damaged, or a column or cell is wrong;
            the message names row (counted from 1) and column.
    """
    [rows] = parquet_rows(path, columns)
    return padded_sequences(path, rows, columns)


def parquet_rows(
    path: str,
    columns: ColumnNames,
    at_once: float = math.inf,
    seen: Callable[[float], None] = lambda share: None,
) -> Iterator[Rows]:
    """Yield the rows of whole sequences; see ``csv_rows``.

    Raises:
        InputError: As ``read_parquet``.
    """
    arrow, parquet = extra("pyarrow", "data", path), extra("pyarrow.parquet", "data", path)
    try:
        with _opened(parquet, path, columns) as file:
            schema = file.schema_arrow
            layout = find_columns(path, schema.names, columns, pandas_index(schema))
            groups = range(file.metadata.num_row_groups)
            total = sum(file.metadata.row_group(group).num_rows for group in groups)
            if not total:
                raise bad(path, "has columns but no rows.")
            if at_once < math.inf:
                at_once = limit_rows(at_once, layout)
            _require_room(path, file, layout, min(total, at_once))
            first = 0
            for table in _tables(path, arrow, file, layout, at_once):
                rows = _rows(path, arrow, table, layout, first)
                first += table.num_rows
                del table  # not needed any more while the rows are gathered
                yield rows
                seen(first / total)
    except InputError:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        # ValueError: text in the file that is not UTF-8
        raise bad(path, f"is damaged or cut short ({error}).") from error


def _opened(parquet: Any, path: str, columns: ColumnNames) -> Any:
    """Open a file whose columns of text keep each text once, however often it comes."""
    metadata = parquet.read_metadata(path)
    paths = {metadata.schema.column(at).path for at in range(metadata.num_columns)}
    return parquet.ParquetFile(
        path,
        metadata=metadata,
        read_dictionary=list(paths & {columns.sequence, columns.time, columns.label}),
        pre_buffer=False,  # with it a whole row group would be read at once
        buffer_size=_BUFFER,
    )


def _require_room(path: str, file: Any, layout: Layout, rows: float) -> None:
    """Refuse what would not fit into memory: a few bytes may stand for any number of rows."""
    # Numbers as decoded, as float32, and in order; codes, times and the order of the rows. Sizes of
    # column chunks are not asked for: where their metadata is damaged, pyarrow ends the process.
    size = int(rows) * (16 * len(layout.features) + 64)
    remedy = "Write it with `grulight pack`, or use less of it."
    require_memory(path, f"{int(rows):,} rows of {len(layout.features):,} features", size, remedy)


def _tables(path: str, arrow: Any, file: Any, layout: Layout, at_once: float) -> Iterator[Any]:
    """Yield tables that end where a sequence does."""
    used = {layout.sequence, layout.time, layout.label, *layout.features} - {None}
    names = [layout.names[i] for i in used if i is not None]
    if at_once == math.inf:
        yield file.read(columns=names)
        return
    sequence = layout.names[layout.sequence]
    batch_size = max(1, min(_BATCH, _CELLS // len(names)))
    held: list[Any] = []
    for batch in file.iter_batches(batch_size=batch_size, columns=names, use_threads=False):
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
    features = np.empty((table.num_rows, len(layout.features)), np.float32)
    digits = [Digits(1) for _ in layout.features]
    for at, i in enumerate(layout.features):
        exact = _numbers(path, arrow, names[i], table[names[i]], place)
        if layout.offset is not None:
            exact = exact - layout.offset[at]
        features[:, at] = as_float32(exact)
        digits[at].add(exact[:, None], features[:, [at]])
    found = merged(digits)
    return Rows(
        _texts(path, arrow, names[layout.sequence], table),
        None if layout.label is None else _texts(path, arrow, names[layout.label], table),
        None if layout.time is None else _times(path, arrow, names[layout.time], table, place),
        features,
        layout,
        place,
        found.notes(path, [names[i] for i in layout.features]),
        found.offset(),
    )


def _numbers(path: str, arrow: Any, name: str, column: Any, place: Place) -> NDArray[np.float64]:
    _refuse_nulls(path, name, column, place)
    kind, types = column.type, arrow.types
    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if not any(test(kind) for test in numeric):
        raise bad(path, f"column {name!r} holds {kind}, expected numbers.{advice(name)}")
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
        if not arrow.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        column = column.unify_dictionaries().combine_chunks()
        if isinstance(column, arrow.ChunkedArray):  # of several chunks, or of none
            column = arrow.concat_arrays(column.chunks)
        # the file's dictionary may have another order, and entries twice
        used = column.indices.dictionary_encode(null_encoding="encode")
        texts = column.dictionary.cast(arrow.string()).take(used.dictionary).to_pylist()
    except arrow.ArrowException as error:
        raise bad(
            path, f"column {name!r} holds {column.type}, expected text or whole numbers."
        ) from error
    index: dict[str, int] = {}
    codes = [index.setdefault(text or "", len(index)) for text in texts]
    return Texts(list(index), np.array(codes)[np.asarray(used.indices)])


def _times(path: str, arrow: Any, name: str, table: Any, place: Place) -> NDArray[Any]:
    column = table[name]
    _refuse_nulls(path, name, column, place)
    kind = column.type.value_type if arrow.types.is_dictionary(column.type) else column.type
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        texts = _texts(path, arrow, name, table)
        first = np.unique(texts.codes, return_index=True)[1]
        return parse_times(path, texts.names, lambda at: place(int(first[at])))[texts.codes]
    times = column.to_numpy()
    if times.dtype.kind in "Mm":
        times = times.astype(np.int64)
    if times.dtype.kind not in "iuf" or np.isnan(times).any():
        raise bad(path, f"column {name!r} holds {column.type}, expected finite numbers or times.")
    return np.asarray(times)
