"""Sequences on a device, of which batches are gathered there."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grulight.data.batches import Batch, Batches, Order
from grulight.data.blocks import Block
from grulight.data.sequences import Sequences

SHARE = 0.5  # of the device's free memory that a part may take
_AT_ONCE = 1 << 26  # bytes that are read and copied together


class Held:
    """Sequences that stay where they are.

    No tuple: Lightning would walk through it, and move and convert each tensor for every block.

    Args:
        columns: What :class:`Batch` has, of all sequences.
        follows_steps: Whether labels have an axis of time steps.
        is_room: Whether they are those of one block after another.
    """

    def __init__(self, columns: Batch, follows_steps: bool, is_room: bool = False) -> None:
        self.columns, self.follows_steps, self.is_room = columns, follows_steps, is_room

    def batch(self, chosen: Tensor, steps: int, share: float = 1.0) -> Batch:
        """Return some sequences (B,), cut to a number of time steps."""
        values, lengths, labels, _, weights = self.columns
        cut = labels[:, :steps] if labels is not None and self.follows_steps else labels
        rest = (x if x is None else x.index_select(0, chosen) for x in (lengths, cut, weights))
        lengths, labels, weights = rest
        return Batch(values[:, :steps].index_select(0, chosen), lengths, labels, share, weights)

    def has_room(self, block: Block) -> bool:
        """Return whether the sequences of a block could stand here."""
        if not self.is_room or self.follows_steps != block.follows_steps:
            return False
        for room, column in _pairs(self.columns, block.whole):
            if room is None or column is None:
                if room is not column:
                    return False
            elif room.dtype != column.dtype or not _is_covered(column.shape, room.shape):
                return False
        return True

    def take_in(self, block: Block) -> None:
        """Let the first sequences be those of a block, for which there is room."""
        for room, column in _pairs(self.columns, block.whole):
            if room is not None and column is not None:
                room[tuple(map(slice, column.shape))].copy_(column)


def _is_covered(shape: torch.Size, room: torch.Size) -> bool:
    return len(shape) == len(room) and all(a <= b for a, b in zip(shape, room, strict=True))


def _pairs(ours: Batch, theirs: Batch) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    for name in ("values", "lengths", "labels", "weights"):
        yield getattr(ours, name), getattr(theirs, name)


def room_for(block: Block, before: Held | None = None) -> Held:
    """Return room for the sequences of a block, and for as many and as long ones as before."""
    found: list[Tensor | None] = []
    old = block.whole if before is None or not before.is_room else before.columns
    for column, other in _pairs(block.whole, old):
        if column is None:
            found.append(None)
            continue
        alike = other is not None and other.dim() == column.dim()
        shapes = (column.shape, other.shape if alike and other is not None else column.shape)
        found.append(column.new_zeros([max(pair) for pair in zip(*shapes, strict=True)]))
    values, lengths, labels, weights = found
    assert values is not None
    return Held(Batch(values, lengths, labels, 1.0, weights), block.follows_steps, is_room=True)


def held(batches: Batches, device: torch.device, dtype: torch.dtype) -> Held:
    """Move a part to a device, its floats as the network computes."""
    sequences = batches.sequences
    count, steps = sequences.values.shape[:2]
    each = max(1, _AT_ONCE // (4 * sequences.values[:1].size))
    rooms: list[Tensor | None] = []
    for start in range(0, count, each):
        own = slice(start, min(start + each, count))
        part = batches.batch(own, steps, 1.0)
        columns = part.values, part.lengths, part.labels, part.weights
        if not rooms:
            rooms = [_room(column, count, device, dtype) for column in columns]
        for room, column in zip(rooms, columns, strict=True):
            if room is not None and column is not None:
                room[own].copy_(column)
    values, lengths, labels, weights = rooms
    assert values is not None
    return Held(Batch(values, lengths, labels, 1.0, weights), sequences.follows_steps)


def _room(
    column: Tensor | None, count: int, device: torch.device, dtype: torch.dtype
) -> Tensor | None:
    if column is None:
        return None
    kind = dtype if column.is_floating_point() else column.dtype
    return torch.empty((count, *column.shape[1:]), dtype=kind, device=device)


def bytes_of(sequences: Sequences, dtype: torch.dtype) -> int:
    """Return how much memory a part would take on a device."""
    weights, labels = sequences.weights, sequences.labels
    numbers = int(np.prod(sequences.values.shape)) + (0 if weights is None else len(weights))
    wide = 0 if labels is None else 8 * labels.size
    return numbers * dtype.itemsize + wide + 8 * len(sequences)


class HeldBlock:
    """Several batches of sequences that are held, for as many optimiser steps.

    Attributes:
        held: The sequences.
        order: Which of them, one batch after the other.
        sizes: Sequences of each batch.
        shares: Share of each batch; see :class:`Batch`.
        steps: Time steps of each batch.
    """

    def __init__(
        self,
        held: Held,
        order: Order,
        sizes: NDArray[np.int64],
        shares: NDArray[np.float64],
        steps: NDArray[np.int64],
    ) -> None:
        self.held, self.order = held, order
        self.sizes, self.shares, self.steps = sizes, shares, steps

    @property
    def counted(self) -> int:
        """How many sequences this process counts."""
        return int(self.sizes[self.shares > 0].sum())

    def split(self) -> Iterator[Batch]:
        """Yield the batches."""
        device = self.held.columns.values.device
        order = torch.from_numpy(self.order).to(device, non_blocking=True)
        edges = pairwise([0, *self.sizes.cumsum().tolist()])
        for edge, share, steps in zip(edges, self.shares, self.steps, strict=True):
            yield self.held.batch(order[slice(*edge)], int(steps), float(share))
