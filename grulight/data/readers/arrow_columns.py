"""Columns of Arrow tables become numbers, texts and times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray
from pyarrow import compute

from grulight.data.readers.hints import advice, fill
from grulight.data.readers.messages import bad
from grulight.data.readers.times import parse_times

Place = Callable[[int], str]


@dataclass(frozen=True)
class Texts:
    """A column of R texts: ``names[codes[row]]``, the names in order of first appearance."""

    names: Sequence[str]
    codes: NDArray[np.int64]


def as_numbers(
    path: str, name: str, column: Any, place: Place, *, missing: bool = False
) -> NDArray[np.float64]:
    """Return a column of numbers; empty cells are NaN where they may be ``missing``.

    Raises:
        InputError: It holds something else, or a cell is empty.
    """
    if not missing:
        _refuse_nulls(path, name, column, place, f" {fill(name)}")
    if arrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind, types = column.type, arrow.types
    if missing and types.is_null(kind):  # all of them are
        return np.full(len(column), np.nan)
    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if not any(test(kind) for test in numeric):
        raise bad(path, f"column {name!r} holds {kind}, expected numbers.{advice(name)}")
    # NumPy converts booleans and 16-bit floats, which Arrow does not; with decimals it is reversed.
    if types.is_decimal(kind) or (column.null_count and not types.is_floating(kind)):
        column = column.cast(arrow.float64())
    return np.asarray(column.to_numpy(), dtype=np.float64)


def as_texts(path: str, name: str, column: Any) -> Texts:
    """Return a column of texts or of numbers as texts; an empty cell is an empty text.

    Raises:
        InputError: It holds something else.
    """
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


def as_times(path: str, name: str, column: Any, place: Place) -> NDArray[Any] | list[str]:
    """Return a column of times as numbers, or as texts that ``merged_times`` parses.

    Raises:
        InputError: It holds something else, or a cell is empty.
    """
    _refuse_nulls(path, name, column, place)
    types, kind = arrow.types, column.type
    if types.is_string(kind) or types.is_large_string(kind):
        return _numeric_times(column)
    if types.is_dictionary(kind):
        return _numeric_times(column.cast(kind.value_type))
    times = column.to_numpy()
    if times.dtype.kind in "Mm":
        times = times.astype(np.int64)
    if times.dtype.kind not in "iuf" or np.isnan(times).any():
        raise bad(path, f"column {name!r} holds {kind}, expected finite numbers or times.")
    return np.asarray(times)


def _numeric_times(column: Any) -> NDArray[Any] | list[str]:
    # Whole numbers first: nanoseconds since 1970 do not fit a float64 exactly.
    for kind in (arrow.int64(), arrow.float64()):
        try:
            numbers = np.asarray(column.cast(kind).to_numpy())
        except arrow.ArrowException:
            continue
        # Arrow takes hexadecimal ones as well
        odd = (compute.any(compute.match_substring(column, sign)).as_py() for sign in "xX")
        if np.isfinite(numbers).all() and not any(odd):
            return numbers
    texts: list[str] = column.to_pylist()
    return texts


def merged_times(
    path: str, parts: Sequence[NDArray[Any] | list[str]], place: Place
) -> NDArray[Any]:
    """Return the times of all blocks as numbers that sort alike.

    Raises:
        InputError: A time is neither a number nor a date as the others are.
    """
    if not any(isinstance(part, list) for part in parts):
        return np.concatenate(parts)
    index: dict[str, int] = {}
    codes, first = list[int](), list[int]()
    for part in parts:
        for text in part if isinstance(part, list) else map(str, part.tolist()):
            code = index.setdefault(text, len(index))
            if code == len(first):
                first.append(len(codes))
            codes.append(code)
    return parse_times(path, list(index), lambda at: place(first[at]))[codes]


def _refuse_nulls(path: str, name: str, column: Any, place: Place, advice: str = "") -> None:
    if column.null_count:
        first = int(np.argmax(column.is_null().to_numpy()))
        problem = f"column {name!r}: empty cell ({column.null_count} such).{advice}"
        raise bad(path, f"{place(first)}, {problem}")
