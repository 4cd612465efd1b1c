"""Whole-tensor batches: one slice of the arrays per batch, no per-sample work."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grulight.data.sequences import Sequences

Order = NDArray[np.int64]


class Batch(NamedTuple):
    """B sequences, padded to the longest of them.

    Attributes:
        values: (B, T, F) float32.
        lengths: (B,) int64 valid steps, or None where every sequence of the part fills all T.
        labels: Classes as int64, (B,) or (B, S); values as float32, (B, K) or (B, S, K); or None
            where the source has none.
    """

    values: Tensor
    lengths: Tensor | None
    labels: Tensor | None


def shuffled(count: int, seed: int, epoch: int) -> Order:
    """Return the order in which an epoch visits ``count`` sequences.

    A pure function of its arguments, so that every process, and a run that was interrupted, sees
    the same batches.
    """
    return np.random.default_rng([seed, epoch]).permutation(count)


class Batches:
    """Serve a part of the data batch by batch; the last one may be smaller.

    Args:
        sequences: The part.
        batch_size: Sequences per batch.
        order: Called at the start of each pass; gives the order of the sequences. None keeps it.
    """

    def __init__(
        self, sequences: Sequences, batch_size: int, order: Callable[[], Order] | None = None
    ) -> None:
        self.sequences = sequences
        self.batch_size = batch_size
        self._order = order
        steps = sequences.values.shape[1]
        self._full_length = bool((sequences.lengths == steps).all())

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.sequences) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one pass."""
        # Lightning makes iterators before it counts the epoch up: ask for the order lazily.
        order = self._order() if self._order else None
        for start in range(0, len(self.sequences), self.batch_size):
            positions = slice(start, start + self.batch_size)
            yield self._batch(positions if order is None else order[positions])

    def _batch(self, chosen: slice | Order) -> Batch:
        lengths = self.sequences.lengths[chosen]
        steps = self.sequences.values.shape[1] if self._full_length else int(lengths.max())
        # A memory-mapped array is read here and nowhere before; the copy is one batch long.
        values = np.array(self.sequences.values[chosen, :steps], dtype=np.float32, order="C")
        labels = self.sequences.labels
        if labels is not None:
            labels = labels[chosen, :steps] if self.sequences.follows_steps else labels[chosen]
        return Batch(
            torch.from_numpy(values),
            None if self._full_length else torch.tensor(lengths),
            None if labels is None else torch.tensor(labels),
        )
