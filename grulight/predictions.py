"""Predictions as a table: a row per sequence, or per sequence and step."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.extras import extra
from grulight.files import written_whole
from grulight.heads import Columns, Head

SUFFIXES = (".csv", ".parquet")


def prediction_table(
    head: Head,
    names: Sequence[str],
    ids: NDArray[np.str_],
    lengths: NDArray[np.int64],
    answers: Iterable[NDArray[np.floating]],
    follows_steps: bool,
) -> Columns:
    """Put predictions into columns.

    Args:
        head: What they mean.
        names: The classes, labels or values.
        ids: (N,) names of the sequences.
        lengths: (N,) valid steps of the sequences.
        answers: N in batches, (B, C) or (B, S, C).
        follows_steps: Whether a sequence has as many answers as steps; else it has S.

    Returns:
        ``sequence``, ``step`` (counted from 0) where there is an answer for each, then
        ``predicted`` and ``probability_<class>``, or ``probability_<label>``, or
        ``value_<name>``.
    """
    if not head.per_step:
        return {"sequence": ids, **head.columns(np.concatenate([*answers]), names)}
    each = [row for batch in answers for row in batch]
    if follows_steps:
        each = [row[:length] for row, length in zip(each, lengths, strict=True)]
    counts = [len(row) for row in each]
    steps = np.concatenate([np.arange(count) for count in counts])
    found = head.columns(np.concatenate(each), names)
    return {"sequence": np.repeat(ids, counts), "step": steps, **found}


def write_predictions(path: Path, columns: Columns) -> None:
    """Write columns as a ``.csv`` or ``.parquet`` file, which appears whole or not at all.

    Raises:
        InputError: The suffix is another one, or the file cannot be written.
    """
    require_table_suffix(path)
    with written_whole(path) as temporary:
        if path.suffix == ".parquet":
            pyarrow = extra("pyarrow", "data", str(path))
            parquet = extra("pyarrow.parquet", "data", str(path))
            arrays = [pyarrow.array(column) for column in columns.values()]
            parquet.write_table(pyarrow.table(arrays, names=list(columns)), temporary)
            return
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def require_table_suffix(path: Path) -> None:
    """Check that a table can be written under this name.

    Raises:
        InputError: It cannot.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}.")
    if path.is_dir():
        raise InputError(f"{path}: is a directory, expected the name of a file.")
