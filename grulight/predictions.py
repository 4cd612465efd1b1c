"""Predictions as a table: sequence id, predicted class, one probability per class."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.extras import extra
from grulight.files import written_whole

SUFFIXES = (".csv", ".parquet")


def write_predictions(
    path: Path,
    ids: NDArray[np.str_],
    probabilities: NDArray[np.floating],
    class_names: Sequence[str],
) -> None:
    """Write a row per sequence: ``sequence``, ``predicted``, ``probability_<class>`` each.

    Args:
        path: A ``.csv`` or ``.parquet`` file; appears whole or not at all.
        ids: (N,) names of the sequences.
        probabilities: (N, C).
        class_names: C names.

    Raises:
        InputError: The suffix is another one, or the file cannot be written.
    """
    require_table_suffix(path)
    predicted = np.array(class_names)[probabilities.argmax(axis=1)]
    names = [f"probability_{name}" for name in class_names]
    with written_whole(path) as temporary:
        if path.suffix == ".parquet":
            pyarrow = extra("pyarrow", "data", str(path))
            parquet = extra("pyarrow.parquet", "data", str(path))
            columns = [pyarrow.array(ids), pyarrow.array(predicted), *probabilities.T]
            table = pyarrow.table(columns, names=["sequence", "predicted", *names])
            parquet.write_table(table, temporary)
            return
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sequence", "predicted", *names])
            rows = zip(ids, predicted, probabilities.tolist(), strict=True)
            writer.writerows([name, label, *row] for name, label, row in rows)


def require_table_suffix(path: Path) -> None:
    """Check that a table can be written under this name.

    Raises:
        InputError: It cannot.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}.")
    if path.is_dir():
        raise InputError(f"{path}: is a directory, expected the name of a file.")
