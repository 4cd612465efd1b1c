"""What a reader found in a source, unchecked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.offsets import Offset


@dataclass(frozen=True)
class RawSequences:
    """What a reader found, unchecked.

    Attributes:
        values: (N, T, F) numbers, padded at the end of the time axis.
        labels: Numbers or strings, of a shape that ``targets`` knows, or None.
        are_values: Whether the source says that its labels are values, also whole ones.
        lengths: (N,) numbers, or None where every sequence has T steps.
        class_names: The order of the classes, or None to sort them.
        feature_names: F names, or None to number them.
        ids: N names, or None to number them.
        groups: (N,) names of the groups that sequences belong to, or None.
        weights: (N,) weights of the sequences, or None.
        names: What the source calls ``x``, ``y`` and ``lengths``, for messages.
        is_whole: Whether the values are finite float32 with zeros for padding, so that nobody has
            to look at them, and take memory for the padding.
        notes: What the user should know of how it was read, a line each.
        needed_offset: As in :class:`grulight.data.sequences.Sequences`.
    """

    values: NDArray[Any]
    labels: NDArray[Any] | None = None
    are_values: bool = False
    lengths: NDArray[Any] | None = None
    class_names: Sequence[str] | None = None
    feature_names: Sequence[str] | None = None
    ids: Sequence[str] | NDArray[np.str_] | None = None
    groups: NDArray[np.str_] | None = None
    weights: NDArray[Any] | None = None
    names: dict[str, str] = field(default_factory=dict)
    is_whole: bool = False
    notes: tuple[str, ...] = ()
    needed_offset: Offset | None = None

    def name(self, key: str) -> str:
        """Return what the source calls an array."""
        return self.names.get(key, key)
