"""Mean and standard deviation of every feature, in one pass over data of any size."""

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Sequences

_CHUNK = 1 << 20  # values read at once


def feature_statistics(sequences: Sequences) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean (F,) and the standard deviation (F,) over all valid time steps.

    Chunks are merged by the update of Chan, Golub and LeVeque (1983, "Algorithms for computing
    the sample variance"), which stays accurate where the mean is large against the deviation.
    A constant feature gets the deviation 1, so that standardising leaves it at zero.
    Where sequences overlap each step counts once.
    """
    sequences = sequences if sequences.once is None else sequences.once
    steps_each, features = sequences.values.shape[1:]
    chunk = max(1, _CHUNK // (steps_each * features))
    count, mean, squares = 0, np.zeros(features), np.zeros(features)
    for start in range(0, len(sequences), chunk):
        steps = _valid_steps(sequences.part(start, start + chunk))
        chunk_mean = steps.mean(axis=0)
        delta = chunk_mean - mean
        total = count + len(steps)
        squares += ((steps - chunk_mean) ** 2).sum(axis=0) + delta**2 * (count * len(steps) / total)
        mean += delta * (len(steps) / total)
        count = total
    deviation = np.sqrt(squares / max(count, 1))
    # rounding leaves a constant feature with a deviation of about one unit in the last place
    constant = deviation <= 1e-12 * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation)


def _valid_steps(sequences: Sequences) -> NDArray[np.float64]:
    """Return the valid steps of all sequences as rows (steps, F)."""
    longest = int(sequences.lengths.max())  # padding past it may be larger than memory
    valid = np.arange(longest) < sequences.lengths[:, None]
    return np.asarray(sequences.values[:, :longest])[valid].astype(np.float64)
