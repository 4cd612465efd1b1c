"""Sequences of unequal lengths, as a list of arrays, become one padded array."""

from typing import Any

import numpy as np

from grulight.errors import InputError, option


def padded(values: Any, lengths: Any) -> tuple[Any, Any]:
    """Return a list of unequal sequences as one array and their lengths; all else as it is.

    Args:
        values: (N, T, F), or a list of N arrays (T, F), or (T,) of one feature.
        lengths: (N,) or None.

    Returns:
        Values (N, T, F), zeros behind the end of each sequence, and lengths (N,).

    Raises:
        InputError: An array of the list has another shape than the others, or lengths were given
            beside it.
    """
    of_objects = isinstance(values, np.ndarray) and values.dtype.kind == "O"
    if not of_objects and not isinstance(values, list | tuple):
        return values, lengths
    try:
        cases = [np.asarray(case) for case in values]
    except (TypeError, ValueError):  # of nothing that is an array, as is said later
        return values, lengths
    if len({case.shape for case in cases}) < 2:
        return cases, lengths
    if lengths is not None:
        raise InputError(
            f"{option('lengths')}: sequences of a list have their own. Leave it out, or give one "
            "padded array."
        )
    cases = [case[:, None] if case.ndim == 1 else case for case in cases]
    if any(isinstance(case, np.ma.MaskedArray) for case in values):
        raise InputError("values hold a masked array; fill it first.")
    for at, case in enumerate(cases):
        if case.ndim != 2 or case.shape[1] != cases[0].shape[1] or case.dtype.kind not in "biuf":
            raise InputError(
                f"values[{at}] is of shape {case.shape} and holds {case.dtype}, expected numbers "
                f"(steps, {cases[0].shape[-1]})."
            )
    whole = np.zeros(
        (len(cases), max(map(len, cases)), cases[0].shape[1]),
        np.result_type(*{case.dtype for case in cases}),
    )
    for row, case in zip(whole, cases, strict=True):
        row[: len(case)] = case
    return whole, np.array([len(case) for case in cases])
