"""What `y` means: classes or values, one for each sequence or one for each of its steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.classes import class_indices
from grulight.data.readers.digits import Digits, as_float32
from grulight.data.sequences import Labels

Kind = Literal["auto", "classes", "labels", "values"]


@dataclass(frozen=True)
class Wish:
    """How targets are read; what is left open follows from the array.

    Attributes:
        kind: ``auto`` takes integers, booleans, texts and whole floats for classes, and so an
            array whose last axis is one-hot (a 1 among zeros); anything else are values. `labels`
            are values of 0 and 1.
        per_step: Whether there is one for each step; None where the array's second axis is as
            long as the sequences.
    """

    kind: Kind = "auto"
    per_step: bool | None = None


def targets(
    y: NDArray[Any],
    lengths: NDArray[np.int64],
    steps: int,
    ids: NDArray[np.str_],
    class_names: Sequence[str] | None,
    wish: Wish,
) -> tuple[Labels, tuple[str, ...]]:
    """Turn the targets of a source into labels.

    Args:
        y: (N,), (N, S), (N, K) or (N, S, K), where S is the number of steps of the answers: the
            T of the sequences, or another where a model answers with steps of its own.
        lengths: (N,) valid steps; what stands in the padding of y is not looked at.
        steps: T.
        ids: (N,) names of the sequences, for messages.
        class_names: The classes in their order, if the source gives it.
        wish: What the user asked for.

    Returns:
        Class indices (N,) or (N, S) and the class names, or values (N, K) or (N, S, K) and no
        names.

    Raises:
        ValueError: They have another shape, or are not what was asked for.
    """
    per_step = _per_step(y, steps, wish)
    scalars = y.ndim == 1 + per_step
    if not scalars and y.shape[-1] == 1:
        y, scalars = y[..., 0], True
    counted = np.ones(y.shape[: 1 + per_step], dtype=bool)
    if per_step and y.shape[1] == steps:
        counted = np.arange(steps) < lengths[:, None]
    chosen = y[counted]
    one_hot = not scalars and _is_one_hot(chosen)
    if wish.kind == "values" or (wish.kind == "auto" and not one_hot and _are_values(y, scalars)):
        return _values(y[..., None] if scalars else y, counted, chosen), ()
    if wish.kind == "labels":
        held = _values(y[..., None] if scalars else y, counted, chosen)
        if not hold_or_not(held):
            raise ValueError("has other numbers than 0 and 1, expected 1 where a label holds.")
        return held, ()
    if not scalars and not one_hot:
        raise ValueError(
            f"is of shape {y.shape} and not one-hot (a single 1 among zeros), expected one class "
            f"for each {'step' if per_step else 'sequence'}."
        )
    if one_hot:
        names = class_names or tuple(map(str, range(y.shape[-1])))
        if len(names) != y.shape[-1]:
            raise ValueError(f"has {y.shape[-1]} columns, expected one for each of {len(names)}.")
        found, names = chosen.argmax(axis=-1), tuple(names)
    else:
        # with one label each the names need no copy, which may be larger than the values
        owners = np.broadcast_to(ids[:, None], counted.shape)[counted] if per_step else ids
        found, names = class_indices(chosen, owners, class_names)
    labels = np.zeros(counted.shape, dtype=np.int64)
    labels[counted] = found
    return labels, names


def target_notes(
    source: str, y: NDArray[Any] | None, held: Labels | None, counted: NDArray[np.bool_]
) -> tuple[str, ...]:
    """Return a line where float32, in which values are held, cannot tell them apart.

    Args:
        source: What has them, for the line.
        y: What ``targets`` took.
        held: What it made of them.
        counted: (N,) or (N, S) which of them are no padding.
    """
    if y is None or held is None or held.dtype.kind != "f":
        return ()
    exact = y.reshape(held.shape)[counted].astype(np.float64).reshape(-1, held.shape[-1])
    digits = Digits(held.shape[-1])
    digits.add(exact, as_float32(exact))
    return digits.value_notes(source, "its values")


def _per_step(y: NDArray[Any], steps: int, wish: Wish) -> bool:
    """Return whether there is a target for each step.

    Raises:
        ValueError: The shape does not allow what was asked for.
    """
    per_step = wish.per_step
    if per_step is None:
        per_step = y.ndim == 3 or (y.ndim == 2 and y.shape[1] == steps)
    if y.ndim not in (1 + per_step, 2 + per_step) or 0 in y.shape:
        expected = "(sequences, steps) or (sequences, steps, values)"
        if not per_step:
            expected = "(sequences,) or (sequences, values)"
        raise ValueError(f"has shape {y.shape}, expected {expected}.")
    return per_step


def _is_one_hot(rows: NDArray[Any]) -> bool:
    if rows.dtype.kind not in "biuf" or not len(rows):
        return False
    ones = rows == 1
    return bool(((rows == 0) | ones).all() and (ones.sum(axis=-1) == 1).all())


def hold_or_not(values: NDArray[np.floating]) -> bool:
    """Return whether values are labels that hold (1) or do not (0)."""
    return bool(((values == 0) | (values == 1)).all())


def _are_values(y: NDArray[Any], scalars: bool) -> bool:
    """Return whether numbers that nobody explained are values."""
    if y.dtype.kind not in "biuf":
        return False
    finite = y[np.isfinite(y)]
    return not scalars or bool((finite != np.floor(finite)).any())


def _values(
    y: NDArray[Any], counted: NDArray[np.bool_], chosen: NDArray[Any]
) -> NDArray[np.float32]:
    """Return values as float32, zero in the padding.

    Raises:
        ValueError: They are no finite numbers.
    """
    try:
        numbers = chosen.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"holds {y.dtype}, expected numbers ({error}).") from error
    with np.errstate(over="ignore"):
        held = numbers.reshape(-1, y.shape[-1]).astype(np.float32)
    if wrong := int((~np.isfinite(held)).sum()):
        raise ValueError(f"{wrong} values are NaN, infinite or too large for float32.")
    found = np.zeros(y.shape, dtype=np.float32)
    found[counted] = held
    return found
