"""What a table's columns are by their names: an index that pandas wrote, or times nobody named."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# what pandas calls an index that has no name, in Parquet and when a CSV file is read again
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+")
_TIMES = frozenset(
    (
        *("time", "times", "timestamp", "timestamps", "datetime", "date", "dates", "t", "ts"),
        *("step", "steps", "timestep", "timesteps", "frame"),
    )
)
FILL = (
    "--data.missing last, mean or mask fills what is missing, if the model is trained with it "
    "(`grulight pack --missing` keeps it)."
)
_EXACT = 2**24  # whole numbers beyond this are rounded in float32


def is_index(name: str) -> bool:
    """Return whether pandas calls an index so."""
    return _INDEX.fullmatch(name) is not None


def pandas_index(schema: Any) -> list[str]:
    """Return the columns of an Arrow schema that pandas says were an index."""
    try:
        named = (schema.pandas_metadata or {}).get("index_columns", [])
        return [name for name in named if isinstance(name, str)]
    except (ValueError, AttributeError, TypeError):  # no JSON, or of another shape
        return []


def likely_time(
    names: Sequence[str], features: NDArray[np.float32], sequences: NDArray[np.int64]
) -> str | None:
    """Return the name of a feature that holds the times of its rows, by all appearances.

    It is called so, and no number comes twice within a sequence, or they are too large to tell.

    Args:
        names: F names of features.
        features: (R, F).
        sequences: (R,) which sequence each row belongs to.
    """
    for at, name in enumerate(names):
        if _called_time(name) and _differ(features[:, at], sequences):
            return name
    return None


def fill(name: str) -> str:
    """Return what to do where a column of a table with a row per step lacks a value."""
    wide = re.fullmatch(r".*[_. -]\d+", name)
    return FILL + (" Where columns are steps, say --data.layout wide." if wide else "")


def advice(name: str) -> str:
    """Return what to do where a column that is no number is called a time; else nothing."""
    return f" Say --data.time {name} where it orders the rows." if _called_time(name) else ""


def _called_time(name: str) -> bool:
    return re.sub(r"[\W_]", "", name).lower() in _TIMES


def _differ(values: NDArray[np.float32], sequences: NDArray[np.int64]) -> bool:
    if len(np.unique(sequences)) == len(sequences):  # of one step each
        return False
    if (np.abs(values) >= _EXACT).any():
        return True
    order = np.lexsort((values, sequences))
    same = (np.diff(sequences[order]) == 0) & (np.diff(values[order]) == 0)
    return not same.any()
