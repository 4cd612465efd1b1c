"""The one in-memory form of labelled sequences; everything downstream takes only this."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from grulight.data.lazy_values import taken
from grulight.errors import InputError, listed

Labels = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True)
class Sequences:
    """N sequences of up to T time steps with F features each.

    Attributes:
        values: (N, T, F) numbers, right-padded; may be memory-mapped and is never copied whole.
            What stands in the padding is not to be read.
        lengths: (N,) valid time steps of each sequence, 1 to T.
        labels: (N,) indices into ``class_names``, or (N, S), one for each step of the answers; or
            values as floats, (N, K) or (N, S, K); or None where the source has none. Where S is T,
            what stands in the padding is not to be read.
        class_names: What each label index means; empty where the labels are values.
        feature_names: F names.
        ids: N names, as the source calls its sequences.
        source: Where the sequences came from, for messages.
        notes: What the user should know of how they were read, a line each.
        offset: What was subtracted from each feature, in float64; None for nothing.
        needed_offset: What to subtract so that float32 keeps the digits of each feature; None
            where it keeps them.
        once: The same steps, each once, where sequences overlap; for statistics.
        groups: (N,) names of the groups that a split keeps whole; None where the source names none.
        weights: (N,) float32, by which the loss of each sequence is multiplied; None for 1.
    """

    values: NDArray[np.number]
    lengths: NDArray[np.int64]
    labels: Labels | None
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    ids: NDArray[np.str_]
    source: str
    notes: tuple[str, ...] = ()
    offset: tuple[float, ...] | None = None
    needed_offset: tuple[float, ...] | None = None
    groups: NDArray[np.str_] | None = None
    once: "Sequences | None" = None
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.lengths)

    def part(self, start: int, stop: int) -> "Sequences":
        """Return the sequences from position ``start`` up to ``stop``, as views."""
        return replace(
            self,
            values=self.values[start:stop],
            lengths=self.lengths[start:stop],
            labels=None if self.labels is None else self.labels[start:stop],
            ids=self.ids[start:stop],
            groups=None if self.groups is None else self.groups[start:stop],
            weights=None if self.weights is None else self.weights[start:stop],
            once=None,
        )

    def take(self, positions: NDArray[np.int64]) -> "Sequences":
        """Return the sequences at some ascending positions; values on disk stay there."""
        return replace(
            self,
            values=taken(self.values, positions),
            lengths=self.lengths[positions],
            labels=None if self.labels is None else self.labels[positions],
            ids=self.ids[positions],
            groups=None if self.groups is None else self.groups[positions],
            weights=None if self.weights is None else self.weights[positions],
            once=None,
        )

    def with_classes(self, class_names: Sequence[str], hint: str = "") -> "Sequences":
        """Return the same sequences with labels that index ``class_names``.

        Args:
            class_names: The classes.
            hint: What to say to who has others.

        Raises:
            InputError: A sequence has a class that ``class_names`` lacks.
        """
        if self.has_values and class_names:
            raise InputError(
                f"{self.source}: its labels are values, expected the classes {listed(class_names)}."
            )
        if self.labels is None or tuple(class_names) == self.class_names:
            return replace(self, class_names=tuple(class_names))
        index = {name: position for position, name in enumerate(class_names)}
        mapping = np.array([index.get(name, -1) for name in self.class_names], dtype=np.int64)
        labels = np.where(self.counted, mapping[self.labels], 0)
        if unknown := [self.class_names[i] for i in np.unique(self.labels[labels < 0])]:
            raise InputError(
                f"{self.source}: class {listed([*map(repr, unknown)])} is not among the classes "
                f"trained on ({listed(class_names, like=unknown)}). Add training sequences of it "
                f"or remove these {np.count_nonzero(labels < 0)} "
                f"{'steps' if self.per_step else 'sequences'}.{hint}"
            )
        return replace(self, labels=labels, class_names=tuple(class_names))

    def with_features(self, feature_names: Sequence[str]) -> "Sequences":
        """Return the same sequences with their nameless features called ``feature_names``.

        Raises:
            InputError: There are more or fewer features than names, or the source has names of
                its own for them, and others.
        """
        if len(feature_names) != len(self.feature_names):
            raise InputError(
                f"{self.source}: has {len(self.feature_names)} features per time step, expected "
                f"{len(feature_names)} ({listed(feature_names)})."
            )
        nameless = all(map(re.compile(r"feature_\d+").fullmatch, self.feature_names))
        if not nameless and tuple(feature_names) != self.feature_names:
            pairs = zip(self.feature_names, feature_names, strict=True)
            at, (ours, theirs) = next((n, pair) for n, pair in enumerate(pairs) if len({*pair}) > 1)
            raise InputError(
                f"{self.source}: has the features {listed(self.feature_names)}, expected "
                f"{listed(feature_names)} in this order; feature {at} (counted from 0) is "
                f"{ours!r}, expected {theirs!r}."
            )
        return replace(self, feature_names=tuple(feature_names))

    def present_classes(self) -> tuple[str, ...]:
        """Return the names of the classes that at least one sequence has."""
        if self.labels is None or self.has_values:
            return ()
        return tuple(self.class_names[i] for i in np.unique(self.labels[self.counted]))

    @property
    def has_values(self) -> bool:
        """Whether the labels are values, not classes."""
        return self.labels is not None and self.labels.dtype.kind == "f"

    @property
    def num_values(self) -> int:
        """Values of each label; 0 where the labels are classes."""
        return self.labels.shape[-1] if self.labels is not None and self.has_values else 0

    @property
    def per_step(self) -> bool:
        """Whether there is a label for each step."""
        return self.labels is not None and self.labels.ndim == 2 + self.has_values

    @property
    def follows_steps(self) -> bool:
        """Whether there is a label for each step of the sequences, so that padding has none."""
        return (
            self.labels is not None
            and self.per_step
            and self.labels.shape[1] == self.values.shape[1]
        )

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which labels count, (N,) or (N, S): all but those of padding."""
        if self.labels is None or not self.follows_steps:
            shape = (len(self),) if self.labels is None else self.labels.shape[: 1 + self.per_step]
            return np.ones(shape, dtype=bool)
        return np.arange(self.values.shape[1]) < self.lengths[:, None]
