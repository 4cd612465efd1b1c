"""Several batches at once, where what happens around a step costs more than the step."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grulight.data.batches import Batch, Batches, Order, Part


class Block(NamedTuple):
    """Several batches, one after the other, for as many optimiser steps.

    Attributes:
        whole: Their sequences, padded to the longest of all.
        sizes: Sequences of each batch.
        shares: Share of each batch; see :class:`Batch`.
        steps: Time steps of each batch.
        follows_steps: Whether labels have an axis of time steps.
    """

    whole: Batch
    sizes: NDArray[np.int64]
    shares: NDArray[np.float64]
    steps: NDArray[np.int64]
    follows_steps: bool

    @property
    def counted(self) -> int:
        """How many sequences this process counts."""
        return int(self.sizes[self.shares > 0].sum())

    def places(self) -> list[slice]:
        """Return which of the sequences each batch has."""
        return [slice(*pair) for pair in pairwise([0, *self.sizes.cumsum().tolist()])]

    def split(self) -> Iterator[Batch]:
        """Yield the batches, as views."""
        # arrays, as Lightning walks through every item of a tuple
        columns = self.places(), self.shares.tolist(), self.steps.tolist()
        for own, share, steps in zip(*columns, strict=True):
            values, lengths, labels = self.whole.values, self.whole.lengths, self.whole.labels
            if labels is not None:
                labels = labels[own, :steps] if self.follows_steps else labels[own]
            weights = None if self.whole.weights is None else self.whole.weights[own]
            lengths = None if lengths is None else lengths[own]
            yield Batch(values[own, :steps], lengths, labels, share, weights)


class Blocks:
    """Serve a part of the data as blocks of batches; the last block may have fewer.

    Args:
        batches: The batches.
        steps_per_execution: How many of them make a block.
    """

    def __init__(self, batches: Batches, steps_per_execution: int) -> None:
        self.batches = batches
        self.steps_per_execution = steps_per_execution

    def __len__(self) -> int:
        """Return the number of blocks."""
        return -(-len(self.batches) // self.steps_per_execution)

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks of one pass; see :meth:`Batches.parts`."""
        for parts in self.batches.parts(self.steps_per_execution):
            yield self.block(parts)

    def block(self, parts: Sequence[Part]) -> Block:
        """Return batches as a block."""
        order, sizes, shares, steps = self.columns(parts)
        whole = self.batches.batch(order, int(steps.max()), 1.0)
        return Block(whole, sizes, shares, steps, self.batches.sequences.follows_steps)

    def columns(
        self, parts: Sequence[Part]
    ) -> tuple[Order, NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Return which sequences batches have, then each one's size, share and time steps."""
        each, sizes, shares, steps = zip(*parts, strict=True)
        count = len(self.batches.sequences)
        chosen = [np.arange(*n.indices(count)) if isinstance(n, slice) else n for n in each]
        return np.concatenate(chosen), np.array(sizes), np.array(shares), np.array(steps)

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of which epoch were served."""
        return self.batches.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next pass start where the saved one was, if it is of the same epoch."""
        self.batches.load_state_dict(state_dict)
