"""Missing values: filled from the values before them, or by the means of the training part."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from grulight.data.lazy_values import StoredValues
from grulight.data.readers.memory import require_memory
from grulight.data.readers.offsets import Offset
from grulight.data.sequences import Sequences
from grulight.errors import InputError, option

Missing = Literal["error", "last", "mean", "mask"]
Fill = Literal["last", "mean", "mask"]
_CHUNK = 1 << 20  # values looked at at once
_ADDED = ("_missing", "_since")  # to the names of the features that a mask adds


@dataclass(frozen=True)
class Filling:
    """How missing values are filled.

    ``mean`` takes the mean of the feature over the training part; ``last`` the value before, and
    the mean where there is none. ``mask`` takes those of ``last`` and adds two features for each:
    1 where the value is missing, else 0; and the steps since the last value that is there, or
    since before the first step.

    Attributes:
        kind: Which of the three.
        means: (F,) of the training part, less its offset.
    """

    kind: Fill
    means: NDArray[np.float64]

    def __call__(self, sequences: Sequences) -> Sequences:
        """Return the same sequences without missing values.

        Raises:
            InputError: They have another number of features, or there is too little memory.
        """
        count, steps, width = sequences.values.shape
        if width != len(self.means):
            raise InputError(
                f"{sequences.source}: has {width} features, expected {len(self.means)}, whose "
                "missing values the training part's means fill."
            )
        names = names_with_mask(sequences.feature_names, self.kind)
        zeros = (0.0,) * (len(names) - width)  # of the features that a mask adds
        offset = None if sequences.offset is None else sequences.offset + zeros
        once = None if sequences.once is None else self(sequences.once)
        sequences = replace(sequences, feature_names=names, offset=offset, once=once)
        if len(set(names)) < len(names):
            raise InputError(f"{sequences.source}: has features called as those that mask adds.")
        values, lengths = sequences.values, sequences.lengths
        shape = (count, steps, len(names))
        if isinstance(values, np.memmap | StoredValues):  # which may be larger than memory

            def read(positions: NDArray[np.int64], stop: int) -> NDArray[np.float32]:
                return self._filled(values[positions, :stop], lengths[positions])

            blocks = values.blocks if isinstance(values, StoredValues) else None
            stored: Any = StoredValues(read, shape, blocks)
            return replace(sequences, values=stored)
        size = 4 * count * steps * len(names)
        require_memory(sequences.source, "filling what is missing", size, "Use less of it.")
        filled = np.empty(shape, np.float32)
        for part in _parts(sequences):
            filled[part] = self._filled(values[part], lengths[part])
        return replace(sequences, values=filled)

    def _filled(self, values: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return values (n, T, F) or (n, T, 3 F) without NaN, with zeros for padding."""
        steps = values.shape[1]
        valid = (np.arange(steps) < lengths[:, None])[:, :, None]
        there = ~np.isnan(values)
        at = np.arange(steps)[:, None]
        last = np.maximum.accumulate(np.where(there, at, -1), axis=1)
        source = np.where(there, at, -1) if self.kind == "mean" else last
        found = np.take_along_axis(values, np.maximum(source, 0), axis=1)
        filled = np.where(source < 0, self.means.astype(np.float32), found)
        if self.kind == "mask":
            filled = np.concatenate([filled, ~there, at - last], axis=2)
        return np.where(valid, filled, 0).astype(np.float32)


def fitted(kind: Fill, train: Sequences) -> Filling:
    """Return how missing values are filled by the means of a training part.

    Raises:
        InputError: A feature has no value in it.
    """
    train = train if train.once is None else train.once
    width = len(train.feature_names)
    total, count = np.zeros(width), np.zeros(width, np.int64)
    for part in _parts(train):
        values = np.asarray(train.values[part, :], dtype=np.float64)
        valid = np.arange(values.shape[1]) < train.lengths[part][:, None]
        there = valid[:, :, None] & ~np.isnan(values)
        total += np.where(there, values, 0).sum(axis=(0, 1))
        count += there.sum(axis=(0, 1))
    if (count == 0).any():
        name = train.feature_names[int((count == 0).argmax())]
        raise InputError(
            f"{train.source}: feature {name!r} has no value in the training part. Leave it out "
            f"({option('data.features')} names the others)."
        )
    return Filling(kind, total / count)


def _parts(sequences: Sequences) -> list[slice]:
    _, steps, width = sequences.values.shape
    at_once = max(1, _CHUNK // (steps * width))
    starts = range(0, len(sequences), at_once)
    return [slice(start, min(start + at_once, len(sequences))) for start in starts]


def names_with_mask(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """Return the names of the features, with those that a mask adds."""
    added = _ADDED if kind == "mask" else ()
    return (*names, *(name + end for end in added for name in names))


def names_without_mask(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """Return the names of the features of a source, where a checkpoint may know those added."""
    first = tuple(names[: len(names) // 3])
    return first if first and names_with_mask(first, kind) == tuple(names) else tuple(names)


def offset_without_mask(
    offset: Sequence[float] | None, fill: Sequence[float] | None
) -> Offset | None:
    """Return the offset of the features of a source, likewise."""
    if offset is None:
        return None
    masked = fill is not None and len(offset) == 3 * len(fill)
    return tuple(offset[: len(offset) // 3] if masked else offset)
