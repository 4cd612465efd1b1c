"""Sequences of unequal lengths, as a list of arrays, become one padded array."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError, option


def padded(values: Any, lengths: Any) -> tuple[Any, Any]:
    """Return a list of unequal sequences as one array and their lengths; all else as it is.

    Args:
        values: (N, T, F), or a list of N arrays (T, F), or (T,) of one feature.
        lengths: (N,) or None.

    Returns:
        Values (N, T, F), zeros behind the end of each sequence, and lengths (N,).

    Raises:
        InputError: An array of the list is masked, has no steps or another shape than the others,
            or lengths were given beside it.
    """
    of_objects = isinstance(values, np.ndarray) and values.dtype.kind == "O"
    if not of_objects and not isinstance(values, list | tuple):
        return values, lengths
    try:
        cases = [np.asarray(case) for case in values]
    except (TypeError, ValueError):  # of nothing that is an array, as is said later
        return values, lengths
    if any(isinstance(case, np.ma.MaskedArray) for case in values):
        raise InputError("values hold a masked array; fill it first.")
    for at, case in enumerate(cases):
        if case.shape[:1] == (0,):
            raise InputError(f"values[{at}] has the length 0, expected at least one step.")
    if len({case.shape for case in cases}) < 2:
        return [case[:, None] if case.ndim == 1 else case for case in cases], lengths
    if lengths is not None:
        raise InputError(
            f"{option('lengths')}: sequences of a list have their own. Leave it out, or give one "
            "padded array."
        )
    cases = of_features("values", cases)
    return stacked(cases), np.array([len(case) for case in cases])


def of_features(name: str, cases: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return sequences (T, F), or (T,) of one feature, as (T, F).

    Args:
        name: What they are called, for messages.
        cases: The sequences.

    Raises:
        InputError: One has not the features of the first, or no numbers.
    """
    cases = [case[:, None] if case.ndim == 1 else case for case in cases]
    for at, case in enumerate(cases):
        width = cases[0].shape[1] if cases[0].ndim == 2 else "features"
        if case.ndim != 2 or case.shape[1] != width or case.dtype.kind not in "biuf":
            found = f"is of shape {case.shape} and holds {case.dtype}"
            raise InputError(f"{name}[{at}] {found}, expected numbers (steps, {width}).")
    return cases


def stacked(cases: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays (T, ...) of any lengths as one (N, T, ...), zeros behind the end of each."""
    shape = len(cases), max(map(len, cases)), *cases[0].shape[1:]
    whole = np.zeros(shape, np.result_type(*{case.dtype for case in cases}))
    for row, case in zip(whole, cases, strict=True):
        row[: len(case)] = case
    return whole
