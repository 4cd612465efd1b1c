"""What is subtracted from each feature, in float64, before float32 rounds it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.lazy_values import Positions, StoredValues, stretches_of
from grulight.data.sequences import Sequences
from grulight.errors import InputError, option

Offset = tuple[float, ...]  # one for each feature


def require_fit(source: str, offset: Offset | None, features: Sequence[str]) -> None:
    """Refuse an offset that is not a finite number for each feature.

    Raises:
        InputError: It is not.
    """
    if offset is not None and len(offset) != len(features):
        raise InputError(
            f"{source}: has {len(features)} features per time step, expected {len(offset)}, as "
            f"many as there are offsets ({option('data.offset')})."
        )
    if offset is not None and not np.isfinite(offset).all():
        raise InputError(f"{option('data.offset', list(offset))}: expected finite numbers.")


def less(values: NDArray[Any], offset: Offset | None) -> NDArray[Any]:
    """Return values (..., F) less an offset, in float64; as they are without one."""
    return values if offset is None else values.astype(np.float64) - np.array(offset)


def stored_less(values: Any, offset: Offset) -> StoredValues:
    """Return values (N, T, F) that stay where they are, less an offset, as float32.

    Args:
        values: An array, mapped into memory or not, or values that are stored themselves.
        offset: What to subtract.
    """

    def read(positions: NDArray[np.int64], steps: int) -> NDArray[np.float32]:
        return less(np.asarray(values[positions, :steps]), offset).astype(np.float32)

    allowed = not isinstance(values, StoredValues) or values.stretches is not None
    theirs = stretches_of(values, "") if allowed else None

    def read_stretches(positions: Positions, firsts: Positions, steps: int) -> NDArray[np.float32]:
        assert theirs is not None
        return less(theirs(positions, firsts, steps), offset).astype(np.float32)

    blocks = getattr(values, "blocks", None)
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return StoredValues(read, shape, blocks, 0, read_stretches if theirs else None)


def shifted(sequences: Sequences, offset: Offset | None) -> Sequences:
    """Return sequences less an offset, where no reader has subtracted it from finer numbers.

    What had been subtracted from sequences that a program gives stays so without an offset.
    """
    if offset is None or offset == sequences.offset:
        return sequences
    require_fit(sequences.source, offset, sequences.feature_names)
    more = offset if sequences.offset is None else np.subtract(offset, sequences.offset)
    values: Any = stored_less(sequences.values, tuple(more))
    return replace(sequences, values=values, offset=offset)
