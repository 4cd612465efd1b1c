"""Whole-tensor batches: one slice of the arrays per batch, no per-sample work."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grulight.data.sequences import Sequences
from grulight.errors import InputError

Order = NDArray[np.int64]


class Batch(NamedTuple):
    """B sequences, padded to the longest of them, or of the part.

    Attributes:
        values: (B, T, F) float32.
        lengths: (B,) int64 valid steps, or None where every sequence of the part fills all T.
        labels: Classes as int64, (B,) or (B, S); values as float32, (B, K) or (B, S, K); or None
            where the source has none.
        share: What this process' mean counts in the mean over processes: its part of the batch
            times their number. 0 where a batch has too few sequences for all of them and this one
            only keeps step.
        weights: (B,) by which the loss of each sequence is multiplied; None for 1.
    """

    values: Tensor
    lengths: Tensor | None
    labels: Tensor | None
    share: float = 1.0
    weights: Tensor | None = None

    @property
    def counted(self) -> int:
        """How many sequences this process counts."""
        return len(self.values) if self.share else 0


class Part(NamedTuple):
    """One process' part of a batch: which sequences, how many, their share, and time steps."""

    chosen: slice | Order
    size: int
    share: float
    steps: int


def shuffled(count: int, seed: int, epoch: int) -> Order:
    """Return the order in which an epoch visits ``count`` sequences.

    A pure function of its arguments, so that every process, and a run that was interrupted, sees
    the same batches.
    """
    return np.random.default_rng([seed, epoch]).permutation(count)


class Batches:
    """Serve a part of the data batch by batch; the last one may be smaller.

    Several processes share each batch: one of rank r out of W takes its sequences r, r + W, ...,
    so that together they train the batches of a single process, and count each sequence once.

    Lightning keeps the position within an epoch in checkpoints, by ``state_dict``.

    Args:
        sequences: The part.
        batch_size: Sequences per batch, over all processes.
        order: Gives the order of the sequences in an epoch. None keeps their own.
        epoch: The epoch that a pass belongs to; asked for when its first batch is.
        rank: Of this process.
        world: Number of processes.
        whole: Whether a batch keeps all steps of the part, not those of its longest sequence: for a
            model that may read padding, which must not depend on the batch.
    """

    def __init__(
        self,
        sequences: Sequences,
        batch_size: int,
        order: Callable[[int], Order] | None = None,
        epoch: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world: int = 1,
        whole: bool = False,
    ) -> None:
        self.sequences = sequences
        self.batch_size = batch_size
        self.rank, self.world = rank, world
        self._order, self._epoch = order, epoch
        self._position = self._served(0, 0, 1)
        self._resumed: dict[str, int] | None = None
        steps = sequences.values.shape[1]
        self._whole = whole
        self._full_length = bool((sequences.lengths == steps).all())

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.sequences) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one pass; see :meth:`parts`."""
        for [part] in self.parts():
            yield self.batch(part.chosen, part.steps, part.share)

    def parts(self, at_once: int = 1) -> Iterator[list[Part]]:
        """Yield the parts of one pass' batches, or of those that are left if it was resumed.

        Args:
            at_once: How many batches are served together, so that a pass stops only after these.

        Raises:
            InputError: The pass was interrupted with other batches.
        """
        # Lightning makes iterators before it counts the epoch up: ask for the order lazily.
        epoch = self._epoch()
        resumed, self._resumed = self._resumed, None
        first = 0
        if resumed is not None and resumed["epoch"] == epoch:
            first = resumed["batch"]
            self._require_same_batches(resumed, at_once)
        order = self._order(epoch) if self._order else None
        for batch in range(first, len(self), at_once):
            after = min(batch + at_once, len(self))
            self._position = self._served(epoch, after, at_once)
            yield [self._part(each, order) for each in range(batch, after)]

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of which epoch were served; the same on every process."""
        return dict(self._position)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next pass start where the saved one was, if it is of the same epoch.

        The number of processes may be another.
        """
        self._resumed = dict(state_dict)
        self._position = dict(state_dict)

    def stand_at(self, position: dict[str, int]) -> None:
        """Keep a position as this pass', which was gone through ahead of who takes its batches."""
        self._position = dict(position)

    def _served(self, epoch: int, batch: int, at_once: int) -> dict[str, int]:
        sizes = {
            "sequences": len(self.sequences),
            "batch_size": self.batch_size,
            "steps_per_execution": at_once,
        }
        return {"epoch": epoch, "batch": batch} | sizes

    def _require_same_batches(self, resumed: dict[str, int], at_once: int) -> None:
        for name, now in self._served(0, 0, at_once).items():
            if name not in ("epoch", "batch") and resumed[name] != now:
                raise InputError(
                    f"{self.sequences.source}: the run stopped within epoch "
                    f"{resumed['epoch'] + 1} with {name} {resumed[name]}, now it is {now}. Finish "
                    "the epoch with the same settings."
                )

    def _part(self, batch: int, order: Order | None) -> Part:
        """Return this process' part of a batch."""
        start = batch * self.batch_size
        stop = min(start + self.batch_size, len(self.sequences))
        own = len(range(start + self.rank, stop, self.world))
        positions = slice(start + self.rank, stop, self.world) if own else slice(start, start + 1)
        steps = self.sequences.values.shape[1]
        if not self._full_length and not self._whole:
            # of all processes: what a model makes of padding must not depend on their number
            everyones = slice(start, stop) if order is None else order[start:stop]
            steps = int(self.sequences.lengths[everyones].max())
        chosen = positions if order is None else order[positions]
        return Part(chosen, max(own, 1), own * self.world / (stop - start), steps)

    def batch(self, chosen: slice | Order, steps: int, share: float) -> Batch:
        """Return some sequences, cut to a number of time steps, as a batch."""
        lengths, labels = self.sequences.lengths[chosen], self.sequences.labels
        # A memory-mapped array is read here and nowhere before; the copy is one batch long.
        copy = np.array if isinstance(chosen, slice) else np.ascontiguousarray  # has copied already
        values = copy(self.sequences.values[chosen, :steps], dtype=np.float32)
        if labels is not None:
            labels = labels[chosen, :steps] if self.sequences.follows_steps else labels[chosen]
        weights = self.sequences.weights
        return Batch(
            torch.from_numpy(values),
            None if self._full_length else torch.tensor(lengths),
            None if labels is None else torch.tensor(labels),
            share,
            None if weights is None else torch.tensor(weights[chosen]),
        )
