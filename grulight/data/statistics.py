"""Mean and standard deviation of every feature and value, in one pass over data of any size."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.targets import Kind, hold_or_not
from grulight.data.sequences import Sequences

_CHUNK = 1 << 20  # numbers read at once
Statistics = tuple[NDArray[np.float64], NDArray[np.float64]]


def feature_statistics(sequences: Sequences) -> Statistics:
    """Return the mean (F,) and the standard deviation (F,) over all valid time steps.

    Where sequences overlap each step counts once.
    """
    sequences = sequences if sequences.once is None else sequences.once
    steps_each, features = sequences.values.shape[1:]
    return _of_rows(map(_valid_steps, _chunks(sequences, steps_each * features)), features)


def value_statistics(sequences: Sequences) -> Statistics:
    """Return the mean (K,) and the standard deviation (K,) of the values that are the labels."""
    assert sequences.labels is not None
    size = sequences.labels[:1].size
    rows = (_values(part) for part in _chunks(sequences, size))
    return _of_rows(rows, sequences.num_values)


def are_labels(sequences: Sequences, kind: Kind) -> bool:
    """Return whether values are labels that hold (1) or do not (0), such as (1, 0, 1).

    Args:
        sequences: Whose they are.
        kind: What the user takes them for; with ``auto`` several 0 and 1 are labels.
    """
    if not sequences.has_values or kind == "values":
        return False
    return kind == "labels" or (sequences.num_values > 1 and _all_hold_or_not(sequences))


def _all_hold_or_not(sequences: Sequences) -> bool:
    assert sequences.labels is not None
    return all(hold_or_not(_values(part)) for part in _chunks(sequences, sequences.labels[:1].size))


def _chunks(sequences: Sequences, size: int) -> Iterator[Sequences]:
    chunk = max(1, _CHUNK // max(size, 1))
    for start in range(0, len(sequences), chunk):
        yield sequences.part(start, start + chunk)


def _of_rows(chunks: Iterator[NDArray[np.float64]], columns: int) -> Statistics:
    """Return mean and standard deviation of the columns of rows that come in chunks.

    Chunks are merged by the update of Chan, Golub and LeVeque (1983, "Algorithms for computing
    the sample variance"), which stays accurate where the mean is large against the deviation.
    A constant column gets the deviation 1, so that standardising leaves it at zero.
    """
    count, mean, squares = 0, np.zeros(columns), np.zeros(columns)
    for rows in chunks:
        chunk_mean = rows.mean(axis=0)
        delta = chunk_mean - mean
        total = count + len(rows)
        squares += ((rows - chunk_mean) ** 2).sum(axis=0) + delta**2 * (count * len(rows) / total)
        mean += delta * (len(rows) / total)
        count = total
    deviation = np.sqrt(squares / max(count, 1))
    # rounding leaves a constant column with a deviation of about one unit in the last place
    constant = deviation <= 1e-12 * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation)


def _valid_steps(sequences: Sequences) -> NDArray[np.float64]:
    """Return the valid steps of all sequences as rows (steps, F)."""
    longest = int(sequences.lengths.max())  # padding past it may be larger than memory
    valid = np.arange(longest) < sequences.lengths[:, None]
    return np.asarray(sequences.values[:, :longest])[valid].astype(np.float64)


def _values(sequences: Sequences) -> NDArray[np.float64]:
    """Return the values that count as rows (M, K)."""
    assert sequences.labels is not None
    return np.asarray(sequences.labels)[sequences.counted].astype(np.float64)
