"""What ``fit`` and ``predict`` take for X: arrays, and lists of arrays of unequal lengths."""

import warnings
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from grulight.errors import InputError

Series = NDArray[Any] | list[NDArray[Any]]


def read_series(X: Any, channels_first: bool | None, estimator: Any) -> tuple[Series, bool]:
    """Return X with its steps before its features, and whether they came the other way round.

    Args:
        X: An array (N, T, F), or (N, T) of one feature, or a list of N arrays (T, F) or (T,).
        channels_first: Whether they are (N, F, T) and (F, T) instead; None to see it where a
            list's lengths show it, and to take it for no elsewhere.
        estimator: Who asks, for messages.

    Returns:
        An array (N, T, F) or (N, T), or a list of arrays (T, F) or (T,) of unequal lengths.

    Raises:
        ValueError: It is something else, empty or not numeric.
        TypeError: It is sparse.
    """
    if hasattr(X, "__dataframe__") or hasattr(X, "iloc"):
        raise InputError(
            f"X is a {type(X).__module__.partition('.')[0]} {type(X).__name__}, expected an array "
            "(sequences, steps, features) or a list of arrays (steps, features). Give a row per "
            "sequence as X.to_numpy(); a row per step goes to SequenceDataModule(X)."
        )
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)  # arrays of unequal lengths in one that can be indexed by rows
    if isinstance(X, list | tuple) and (cases := _unequal(X)):
        return _aligned(cases, channels_first)
    values = check_array(X, allow_nd=True, ensure_all_finite=False, estimator=estimator)
    if values.ndim > 3:
        raise InputError(
            f"X has shape {values.shape}, expected (sequences, steps, features), or (sequences, "
            "steps) of one feature."
        )
    if values.ndim == 2:
        return values, bool(channels_first)
    if channels_first is None and 1 < values.shape[2] > values.shape[1]:
        warnings.warn(
            f"X is read as {values.shape[1]} steps of {values.shape[2]} features. Where it is "
            "(sequences, channels, steps), as in aeon, say channels_first=True; False says that "
            "it is read right.",
            stacklevel=3,
        )
    return (values.transpose(0, 2, 1) if channels_first else values), bool(channels_first)


def is_table(series: Series) -> TypeGuard[NDArray[Any]]:
    """Return whether sequences are the rows of a table, (N, T)."""
    return isinstance(series, np.ndarray) and series.ndim == 2


def width(series: Series) -> int:
    """Return the columns of a table, else the features of each step."""
    first = series[0]
    return int(first.shape[-1]) if is_table(series) or first.ndim == 2 else 1


def _unequal(X: Sequence[Any]) -> list[NDArray[Any]]:
    """Return the entries of a list as arrays if their shapes differ, else nothing."""
    try:
        cases = [np.asarray(case) for case in X]
    except ValueError as error:
        raise InputError(f"X holds what is no array ({error}).") from error
    return cases if len({case.shape for case in cases}) > 1 else []


def _aligned(
    cases: list[NDArray[Any]], channels_first: bool | None
) -> tuple[list[NDArray[Any]], bool]:
    """Turn arrays of unequal shapes so that steps come first."""
    if all(case.ndim == 1 for case in cases):
        return cases, bool(channels_first)
    for at, case in enumerate(cases):
        if case.ndim != 2:
            raise InputError(f"X[{at}] has shape {case.shape}, expected (steps, features).")
    shapes = np.array([case.shape for case in cases])
    differ = (shapes != shapes[0]).any(axis=0)
    turned = bool(differ[1] and not differ[0]) if channels_first is None else channels_first
    if differ[0 if turned else 1]:
        at = int((shapes != shapes[0])[:, 0 if turned else 1].argmax())
        raise InputError(
            f"X[0] has shape {cases[0].shape} and X[{at}] {cases[at].shape}, read as "
            f"{'(features, steps)' if turned else '(steps, features)'}: expected as many features "
            f"in each. Where the axes are meant otherwise, say channels_first={not turned}."
        )
    return ([case.T for case in cases] if turned else cases), turned
