"""What a table's columns are by their names: an index that pandas wrote, or times nobody named."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import option

# what pandas calls an index that has no name, in Parquet and when a CSV file is read again
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+(\.\d+)*")
_TIMES = frozenset(
    (
        *("time", "times", "timestamp", "timestamps", "datetime", "date", "dates", "t", "ts"),
        *("step", "steps", "timestep", "timesteps", "frame"),
    )
)
# numbers of rows, or of sequences: in either, a model would learn the order of the file
_NUMBERS_OF_ROWS = frozenset(
    ("index", "idx", "id", "row", "rowid", "rowindex", "rownumber", "rownum", "rownr")
)
_CHANCE = 32  # fewer numbers may follow each other by chance
_EXACT = 2**24  # whole numbers beyond this are rounded in float32


def is_index(name: str) -> bool:
    """Return whether pandas calls an index so."""
    return _INDEX.fullmatch(name) is not None


def with_index_name(names: Sequence[str]) -> list[str]:
    """Return the columns of a file as pandas calls them where the first, its index, has no name."""
    if not names or names[0]:
        return list(names)
    name, copies = "Unnamed: 0", 0
    while name in names:
        copies += 1
        name = f"Unnamed: 0.{copies}"
    return [name, *names[1:]]


def pandas_index(schema: Any) -> list[str]:
    """Return the columns of an Arrow schema that pandas says were an index."""
    try:
        named = (schema.pandas_metadata or {}).get("index_columns", [])
        return [name for name in named if isinstance(name, str)]
    except (ValueError, AttributeError, TypeError):  # no JSON, or of another shape
        return []


def likely_order(
    names: Sequence[str],
    features: NDArray[np.float32],
    sequences: NDArray[np.int64],
    *,
    timed: bool,
) -> tuple[str, str] | None:
    """Return a feature that says where its rows stand, by all appearances, and what it may be.

    It is called a time, and no number comes twice within a sequence, or they are too large to tell;
    or it is called an index and holds whole numbers, or counts the rows from one sequence to the
    next.

    Args:
        names: F names of features.
        features: (R, F).
        sequences: (R,) which sequence each row belongs to.
        timed: Whether another column is their time.
    """
    for at, name in enumerate(names):
        if not timed and _called_time(name) and _differ(features[:, at], sequences):
            return name, "the time of each row"
        named = _plain(name) in _NUMBERS_OF_ROWS and _are_whole(features[:, at])
        if named or _counts(features[:, at], sequences):
            return name, "an index of the rows"
    return None


def fill_missing() -> str:
    """Return what to do where a value is missing."""
    return (
        f"{option('data.missing', 'mean')}, last or mask fills what is missing, if the model is "
        "trained with it (`grulight pack --missing` keeps it)."
    )


def fill(name: str) -> str:
    """Return what to do where a column of a table with a row per step lacks a value."""
    wide = re.fullmatch(r".*[_. -]\d+", name)
    steps = f" Where columns are steps, say {option('data.layout', 'wide')}."
    return fill_missing() + (steps if wide else "")


def advice(name: str) -> str:
    """Return what to do where a column of features is no number."""
    if _called_time(name):
        return f" Say {option('data.time', name)} where it orders the rows."
    return f" Write it as numbers, or pass the other columns as {option('data.features')}."


def _called_time(name: str) -> bool:
    return _plain(name) in _TIMES


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _are_whole(values: NDArray[np.float32]) -> bool:
    return bool((np.isnan(values) | (values == np.floor(values))).all())


def _counts(values: NDArray[np.float32], sequences: NDArray[np.int64]) -> bool:
    """Return whether each row has one more than the row before it, also in other sequences."""
    steps = np.diff(sequences) == 0
    several = len(values) >= _CHANCE and steps.any() and not steps.all()
    return bool(several and (np.diff(values.astype(np.float64)) == 1).all())


def _differ(values: NDArray[np.float32], sequences: NDArray[np.int64]) -> bool:
    if len(np.unique(sequences)) == len(sequences):  # of one step each
        return False
    if (np.abs(values) >= _EXACT).any():
        return True
    order = np.lexsort((values, sequences))
    same = (np.diff(sequences[order]) == 0) & (np.diff(values[order]) == 0)
    return not same.any()
