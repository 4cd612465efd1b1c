"""Labels and groups of a long table: one for each sequence, or a label for each row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.arrow_columns import Texts
from grulight.data.readers.classes import MISSING
from grulight.data.readers.memory import require_memory
from grulight.data.readers.messages import bad
from grulight.data.readers.names import name_array
from grulight.data.readers.table_columns import ColumnNames
from grulight.data.readers.table_rows import Rows
from grulight.errors import option

REMEDY = "Write it with `grulight pack`, which stores no padding, or use less of it."


def labels_of(path: str, rows: Rows, columns: ColumnNames) -> NDArray[Any] | None:
    """Return one label per sequence, or one per row if asked for, or None where there are none."""
    if rows.labels is None or not columns.require_labels:
        return None
    names, codes = rows.labels.names, rows.labels.codes
    column = f"column {rows.layout.names[rows.layout.label or 0]!r}"
    missing = [code for code, name in enumerate(names) if name.strip() in MISSING]
    if missing:
        wrong = np.isin(codes, missing)
        first = int(wrong.argmax())
        found = repr(names[codes[first]]) if names[codes[first]].strip() else "empty cell"
        raise bad(
            path,
            f"{rows.place(first)}, {column}: {found}, expected a label ({wrong.sum()} such rows). "
            "Remove them, or rename the class where it is one.",
        )
    texts: NDArray[Any] = name_array(path, column, names)
    if columns.targets.kind == "values":
        texts = _numbers(path, rows, column)
    if columns.targets.per_step:
        # each text as wide as the longest; they are sorted, which takes two copies
        size = 3 * len(codes) * texts.itemsize
        require_memory(path, f"{column} of {len(codes):,} rows", size, REMEDY)
        return texts[codes]
    hint = f" ({option('data.per_step', True)} takes one per row)"
    return texts[_one_each(path, rows, rows.labels, f"{column}: label", hint)]


def groups_of(path: str, rows: Rows) -> NDArray[np.str_] | None:
    """Return the group of each sequence, or None where there are none.

    Raises:
        InputError: A cell is empty, or a sequence is of two groups.
    """
    if rows.groups is None:
        return None
    names, codes = rows.groups.names, rows.groups.codes
    column = f"column {rows.layout.names[rows.layout.group or 0]!r}"
    if "" in names:
        first = int((codes == list(names).index("")).argmax())
        raise bad(path, f"{rows.place(first)}, {column}: empty cell, expected a group.")
    return name_array(path, column, names)[_one_each(path, rows, rows.groups, f"{column}: group")]


def weights_of(path: str, rows: Rows) -> NDArray[np.float64] | None:
    """Return the weight of each sequence, or None where there are none.

    Raises:
        InputError: A cell is no number, or a sequence has two weights.
    """
    if rows.weights is None:
        return None
    column = f"column {rows.layout.names[rows.layout.weight or 0]!r}"
    numbers = np.empty(len(rows.weights.names))
    for code, text in enumerate(rows.weights.names):
        try:
            numbers[code] = float(text.replace(",", "."))  # a decimal comma
        except ValueError:
            place = rows.place(int((rows.weights.codes == code).argmax()))
            raise bad(path, f"{place}, {column}: {text!r}, expected a weight.") from None
    return numbers[_one_each(path, rows, rows.weights, f"{column}: weight")]


def _one_each(path: str, rows: Rows, texts: Texts, what: str, hint: str = "") -> NDArray[np.int64]:
    """Return the code (N,) of each sequence's text, which all of its rows have."""
    names, codes, sequences = texts.names, texts.codes, rows.sequences
    first = np.zeros(len(sequences.names), np.int64)
    first[sequences.codes[::-1]] = codes[::-1]  # the first row counts
    wrong = codes != first[sequences.codes]
    if wrong.any():
        row = int(wrong.argmax())
        sequence = sequences.codes[row]
        raise bad(
            path,
            f"{rows.place(row)}, {what} {names[codes[row]]!r}, but sequence "
            f"{sequences.names[sequence]!r} has {names[first[sequence]]!r} before; expected one "
            f"{what.rpartition(' ')[2]} per sequence{hint}.",
        )
    return first


def _numbers(path: str, rows: Rows, column: str) -> NDArray[np.float64]:
    """Return the labels as numbers, which each of their texts must be."""
    assert rows.labels is not None
    numbers = np.zeros(len(rows.labels.names))
    for at, text in enumerate(rows.labels.names):
        try:
            numbers[at] = float("nan" if "_" in text else text)
        except ValueError:
            numbers[at] = np.nan
        if not np.isfinite(numbers[at]):
            row = int((rows.labels.codes == at).argmax())
            raise bad(path, f"{rows.place(row)}, {column}: {text[:40]!r} is not a finite number.")
    return numbers
