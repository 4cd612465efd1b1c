"""Optimiser steps that are recorded, for a GRUNet on a GPU: one launch each.

A step gathers its batch on the device, computes the loss as ``evaluate`` does, goes back, moves the
parameters and adds to the epoch's sums; which step it is, is counted there too. So one recording
serves all steps of as many sequences and time steps. Unequal lengths share recordings: time steps
are rounded up, and what is padding counts for nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.data.held import HeldBlock
from grulight.heads import Head, LabelHead
from grulight.kernels.rules import Updates
from grulight.model import GRUNet
from grulight.training.capture import CAPTURES, Recorded, Step
from grulight.training.clipping import limited
from grulight.training.compiled_network import weights_of
from grulight.training.compiled_updates import count_on, moments_of, updates_of
from grulight.training.epoch_means import EpochMeans
from grulight.training.many_steps import step_schedulers
from grulight.training.pending_losses import PendingLosses
from grulight.training.recorded_update import kinds, mover
from grulight.training.static_scores import static_score
from grulight.training.static_tensors import StaticTensors, tensors_for, to_device

_BUCKETS = 8  # numbers of time steps that are told apart between one and its double


class Training(NamedTuple):
    """What a step computes: the parts of a ``GRUClassifier``.

    Attributes:
        network: Its weights are moved.
        head: What its answers mean.
        means: Take the loss and the metric of each batch.
        standardized: Turns raw sequences (batch, time, feature) into what the network reads.
        loss_weights: Returns by what the loss of each answer to a batch is multiplied.
        constants: What these two read.
    """

    network: GRUNet
    head: Head
    means: EpochMeans
    standardized: Callable[[Tensor], Tensor]
    loss_weights: Callable[[Batch], Tensor | None]
    constants: tuple[Tensor | None, ...]


class StepRecords:
    """The recordings of a training, and what they read and write; copies of it have none."""

    def __init__(self) -> None:
        self.losses = PendingLosses()
        self._tensors: StaticTensors | None = None
        self._recorded: Recorded | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return StepRecords, ()

    def clear(self) -> None:
        """Forget all of them."""
        self.__init__()  # type: ignore[misc]  # as it was at first

    def ready(
        self, training: Training, block: Block | HeldBlock, updates: Updates
    ) -> tuple[StaticTensors, Recorded]:
        """Return tensors that hold a block's data and settings, and the recordings over these."""
        weights = weights_of(training.network)
        found = tensors_for(block, updates.rows, weights, self._tensors)
        if found is not self._tensors or self._recorded is None:
            self._recorded = None  # which keeps the tensors before
            self._tensors = found
            self._recorded = Recorded(CAPTURES[found.at.device.type](found.at.device))
            if isinstance(block, HeldBlock):
                _require_targets(training, block.held.columns)
        if isinstance(block, Block):
            _require_targets(training, block.whole)
        found.fill(block, updates.rows)
        return found, self._recorded


def _require_targets(training: Training, columns: Batch) -> None:
    """Check labels before steps read them, which cannot say what is wrong."""
    if isinstance(training.head, LabelHead) and columns.labels is not None:
        valid = training.network.counted(columns.values, columns.lengths)
        training.head.require_targets(columns.labels if valid is None else columns.labels[valid])


def take_recorded(
    trainer: Trainer,
    training: Training,
    records: StepRecords,
    block: Block | HeldBlock,
    count: int,
) -> None:
    """Take the steps of the first ``count`` batches of a block.

    Args:
        trainer: Whose optimiser takes them, and whose limit on gradients holds.
        training: What they compute; the network is one that ``why_not_recorded`` knows no
            obstacle of.
        records: Of this training.
        block: The batches.
        count: How many of them.

    Raises:
        InputError: The loss of a step is not finite: one of these or, where nobody waited for the
            device, of those before.
    """
    records.losses.require_finite(wait=False)
    [optimizer], weights = trainer.optimizers, weights_of(training.network)
    updates = updates_of(optimizer, weights, count, partial(step_schedulers, trainer))
    updates = limited(updates, trainer)
    moments = moments_of(optimizer, weights)  # after the rule, which asks whether there were any
    tensors, recorded = records.ready(training, block, updates)
    tensors.gather(weights, moments)
    means = training.means
    if means.sums.device != tensors.sums.device:  # they start on the host
        means.sums = to_device(means.sums.numpy(), tensors.sums)
    common, longest = _common(training), block.steps[:count].tolist()
    if tensors.held.columns.lengths is not None and not _drawn_by_time(training.network):
        most = tensors.held.columns.values.shape[1]
        longest = [min(rounded_up(steps), most) for steps in longest]
    steps_of_block = zip(block.sizes[:count].tolist(), longest, kinds(updates), strict=True)
    for n, (size, steps, kind) in enumerate(steps_of_block):
        make = partial(_step, training, tensors, updates, n, size, steps)
        recorded.take((size, steps, kind, common), make)
    tensors.give_back(moments)
    count_on(optimizer, weights, count)
    sums = tensors.sums[:count].clone()
    means.add(sums)
    records.losses.watch(sums, trainer.current_epoch, trainer.global_step)


def rounded_up(steps: int) -> int:
    """Return a number of time steps that is not less, of which there are few."""
    width = max(1, (1 << (steps - 1).bit_length()) // (2 * _BUCKETS))
    return -(-steps // width) * width


def _drawn_by_time(network: GRUNet) -> bool:
    """Return whether dropout draws a number for each time step, so that there may be no more."""
    between = network.gru.dropout > 0 and network.gru.num_layers > 1
    return network.training and (between or (network.per_step and network.dropout.p > 0))


def _common(training: Training) -> tuple[object, ...]:
    """Return what steps of all sizes have in common, and know without asking."""
    network = training.network
    places = [None if each is None else each.data_ptr() for each in training.constants]
    modes = network.training, network.gru.dropout, network.dropout.p, network.gru.kernel
    return (*modes, training.head, *places)


def _step(
    training: Training, tensors: StaticTensors, updates: Updates, n: int, size: int, steps: int
) -> Step:
    """Return what takes the step that is next, like the n-th of a block: ``size`` sequences."""
    network, head, *_ = training
    places = [n for n, each in enumerate(weights_of(network)) if each.requires_grad]
    leaves = [weights_of(network)[n] for n in places]
    parameters = [tensors.moved[n].parameters for n in places]
    gradients = [tensors.of_each[n] for n in places]
    move = mover(tensors, updates._replace(rows=updates.rows[n : n + 1]))
    sequences = tensors.sums.new_full((), size)
    everything = tensors.sums.new_full((), size * (steps if network.per_step else 1))

    def step() -> None:
        batch = tensors.next_batch(size, steps)
        answers, valid = network.answers(training.standardized(batch.values), batch.lengths)
        assert batch.labels is not None
        weights = training.loss_weights(batch)
        loss, metric, counted = static_score(head, answers, batch.labels, valid, weights)
        found = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            counts = everything if counted is None else counted.to(sequences)
            sums = [(loss * size).to(sequences), sequences, metric.to(sequences), counts]
            tensors.sums.index_copy_(0, tensors.at, torch.stack(sums)[None])
            torch._foreach_copy_(gradients, found)
            move()
            torch._foreach_copy_(leaves, parameters)
            tensors.at.add_(1)

    return step
