"""What each sequence has beside its values: its name, its length, its weight, checked."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.messages import bad
from grulight.data.readers.names import name_array
from grulight.data.readers.raw import RawSequences


def names_of(
    source: str,
    key: str,
    given: Sequence[str] | NDArray[np.str_] | None,
    count: int,
    prefix: str,
) -> NDArray[np.str_]:
    """Return names (count,), the given ones or numbers behind a prefix."""
    if given is None:
        # as an array: Python's strings take twice the memory
        return np.char.add(prefix, np.arange(count).astype(f"U{len(str(count - 1))}"))
    if len(given) != count:
        raise bad(source, f"{key} has {len(given)} names, expected {count}.")
    return given if isinstance(given, np.ndarray) else name_array(source, key, given)


def lengths_of(source: str, raw: RawSequences, ids: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return how many steps (N,) of each sequence are valid."""
    count, steps = raw.values.shape[:2]
    if raw.lengths is None:
        return np.full(count, steps, dtype=np.int64)
    given, name = raw.lengths, raw.name("lengths")
    if given.dtype.kind not in "iuf":
        raise bad(source, f"{name} holds {given.dtype}, expected whole numbers.")
    wrong = ~((given >= 1) & (given <= steps) & (given == np.floor(given)))
    if wrong.any():
        first = int(wrong.argmax())
        raise bad(
            source,
            f"{name}[{first}] is {given[first]} (sequence '{ids[first]}'; {wrong.sum()} such), "
            f"expected a whole number from 1 to {steps}.",
        )
    return given.astype(np.int64)


def weights_of(source: str, raw: RawSequences, ids: NDArray[np.str_]) -> NDArray[np.float32] | None:
    """Return by what the loss of each sequence (N,) is multiplied; None for 1."""
    if raw.weights is None:
        return None
    name = raw.name("weights")
    if raw.weights.dtype.kind not in "biuf":
        raise bad(source, f"{name} holds {raw.weights.dtype}, expected numbers.")
    wrong = ~(np.isfinite(raw.weights) & (raw.weights >= 0))
    if wrong.any():
        first = int(wrong.argmax())
        raise bad(
            source,
            f"{name}: the weight of sequence '{ids[first]}' is {raw.weights[first]} "
            f"({wrong.sum()} such), expected a finite number, 0 or more.",
        )
    return raw.weights.astype(np.float32)
