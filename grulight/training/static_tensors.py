"""What steps that are recorded read and write: tensors that stay where they are."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.data.held import Held, HeldBlock, room_for
from grulight.kernels.reference import Array
from grulight.training.flat_updates import Moved


def to_device(array: Array, like: Tensor) -> Tensor:
    """Copy an array to a tensor's device, in its type, without waiting for what runs there."""
    found = torch.from_numpy(np.array(array)).to(like.dtype)
    return found.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else found


class StaticTensors:
    """The data, the settings and the state of as many steps as a block has, or fewer.

    Args:
        held: The sequences that steps take.
        batch: Sequences of the largest batch.
        rows: (steps, groups, COLUMNS) settings of a block's optimiser steps.
        weights: What is trained, in the network's order.

    Attributes:
        held: The sequences.
        order: (steps, batch) which of them each step takes.
        at: (1,) the step that is next.
        rows: (steps, groups, COLUMNS) the optimiser's settings.
        sums: (steps, 4) what each step adds to the epoch's; see ``EpochMeans.add``.
        flat: The parameters, and each moment, flat.
        moved: For each parameter, it and its moments, as views of these.
        gradients: Flat.
        of_each: For each parameter, its gradient, as a view.
    """

    def __init__(self, held: Held, batch: int, rows: Array, weights: Sequence[Tensor]) -> None:
        like, sizes = weights[0].detach(), [each.numel() for each in weights]
        self.held = held
        self.order = like.new_zeros(len(rows), batch, dtype=torch.int64)
        self.at = like.new_zeros(1, dtype=torch.int64)
        self.rows = like.new_zeros(rows.shape)
        self.sums = like.new_zeros(len(rows), 4, dtype=torch.float64)
        self.flat = Moved(*(like.new_zeros(sum(sizes)) for _ in Moved._fields))
        self.gradients = like.new_zeros(sum(sizes))
        *columns, self.of_each = (
            [part.view(w.shape) for part, w in zip(torch.split(each, sizes), weights, strict=True)]
            for each in (*self.flat, self.gradients)
        )
        self.moved = [Moved(*each) for each in zip(*columns, strict=True)]
        self._weights = _places(weights)

    def fit(self, block: Block | HeldBlock, rows: Array, weights: Sequence[Tensor]) -> bool:
        """Return whether a block's steps can be taken with these tensors."""
        count, batch = self.order.shape
        return (
            count >= len(rows)
            and batch >= block.sizes.max()
            and self.rows.shape[1:] == rows.shape[1:]
            and self._weights == _places(weights)
            and (
                block.held is self.held
                if isinstance(block, HeldBlock)
                else self.held.has_room(block)
            )
        )

    def fill(self, block: Block | HeldBlock, rows: Array) -> None:
        """Put the data and the settings of a block's steps into place, and begin with its first."""
        order = np.zeros(self.order.shape, np.int64)
        for row, chosen in zip(order, _chosen(block), strict=False):
            row[: len(chosen)] = chosen
        self.order.copy_(to_device(order, self.order))
        self.rows[: len(rows)].copy_(to_device(rows, self.rows))
        self.at.zero_()
        if isinstance(block, Block):
            self.held.take_in(block)

    def gather(self, weights: Sequence[Tensor], moments: Sequence[Mapping[int, Tensor]]) -> None:
        """Let the state be that of weights and moments; see ``moments_of``."""
        parameters = [each.parameters for each in self.moved]
        torch._foreach_copy_(parameters, [each.detach() for each in weights])
        for views, theirs in self._slots(moments):
            torch._foreach_copy_(views, theirs)

    def give_back(self, moments: Sequence[Mapping[int, Tensor]]) -> None:
        """Let moments be those of the state; each step does so with the weights."""
        for views, theirs in self._slots(moments):
            torch._foreach_copy_(theirs, views)

    def _slots(
        self, moments: Sequence[Mapping[int, Tensor]]
    ) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        for slot, found in enumerate(moments, start=1):
            if found:
                yield [self.moved[place][slot] for place in found], list(found.values())

    def next_batch(self, size: int, steps: int) -> Batch:
        """Gather the batch of the step that is next."""
        return self.held.batch(self.order.index_select(0, self.at)[0, :size], steps)


def _places(weights: Sequence[Tensor]) -> list[tuple[object, ...]]:
    """Return what a recorded step knows of weights: where they are, their type, who moves."""
    return [(each.data_ptr(), each.dtype, each.requires_grad) for each in weights]


def _chosen(block: Block | HeldBlock) -> list[NDArray[np.int64]]:
    """Return which of the sequences each batch has."""
    order = block.order if isinstance(block, HeldBlock) else np.arange(block.sizes.sum())
    return np.split(order, block.sizes.cumsum()[:-1])


def tensors_for(
    block: Block | HeldBlock,
    rows: Array,
    weights: Sequence[Tensor],
    before: StaticTensors | None,
) -> StaticTensors:
    """Return tensors with which a block's steps can be taken: those before, if they fit."""
    if before is not None and before.fit(block, rows, weights):
        return before
    if isinstance(block, HeldBlock):
        held = block.held
    else:
        held = room_for(block, None if before is None else before.held)
    return StaticTensors(held, int(block.sizes.max()), rows, weights)
