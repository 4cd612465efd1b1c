"""Many optimiser steps in one of Lightning's: what it does around a step costs more than the step.

Same batches, same updates, same logged numbers as one by one; Keras calls it steps_per_execution.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.data.held import HeldBlock
from grulight.heads import Head, ValueHead
from grulight.kernels.reference import Array
from grulight.kernels.rules import Updates, accumulating
from grulight.kernels.steps import State, Task, train_steps
from grulight.kernels.threads import ahead
from grulight.model import GRUNet
from grulight.training.clipping import limited
from grulight.training.compiled_network import task_of, weights_of
from grulight.training.compiled_updates import state_of, take_over, updates_of
from grulight.training.divergence import require_finite_loss
from grulight.training.dropout_noise import drawn_noise, portions, sizes_of
from grulight.training.epoch_means import EpochMeans

AnyBlock = Block | HeldBlock


def execute(trainer: Trainer, block: AnyBlock, take: Callable[[AnyBlock, int], None]) -> None:
    """Take the steps of a block's batches, and count them all as Lightning's.

    Args:
        trainer: Whose limit on steps holds, and whose counters go on.
        block: The batches.
        take: Takes the steps of the first so many batches of the block, and shows schedulers all
            but the last.
    """
    loop, each = trainer.fit_loop.epoch_loop, trainer.accumulate_grad_batches
    # Lightning knows of one step; of none where it takes the block for a batch that waits
    known = not loop._should_accumulate()
    count = len(block.sizes)
    if loop.max_steps != -1:
        count = min(count, (loop.max_steps - loop.global_step) * each)
    if count < len(block.sizes):
        # an epoch that is not finished, which Lightning does not validate
        loop.batch_progress.is_last_batch, trainer.val_check_batch = False, math.inf
    take(block, count)
    if not known:
        step_schedulers(trainer)
    more = -(-count // each) - known
    steps = loop.automatic_optimization.optim_progress.optimizer.step
    for progress in (steps.total, steps.current):
        progress.ready += more
        progress.completed += more
    loop._batches_that_stepped += more


def take_one_by_one(
    trainer: Trainer,
    loss_of: Callable[[Batch], Tensor],
    block: AnyBlock,
    count: int,
    go_on: Callable[[], None],
) -> None:
    """Take the steps of the first ``count`` batches through autograd.

    Args:
        trainer: Whose optimiser takes them, and whose limit on gradients holds.
        loss_of: Returns the loss of a batch.
        block: The batches.
        count: How many of them.
        go_on: Called between steps.
    """
    [optimizer], limit = trainer.optimizers, trainer.gradient_clip_val
    each = trainer.accumulate_grad_batches
    optimizer.zero_grad()
    for n, batch in zip(range(1, count + 1), block.split(), strict=False):
        torch.autograd.backward(loss_of(batch) / each)
        if n % each and n < count:
            continue
        trainer.lightning_module.configure_gradient_clipping(
            optimizer, limit, trainer.gradient_clip_algorithm
        )
        optimizer.step()
        optimizer.zero_grad()
        if n < count:
            go_on()


def step_schedulers(trainer: Trainer) -> None:
    """Let the schedulers that follow steps see one; Lightning shows them an execution's last."""
    for config in trainer.lr_scheduler_configs:
        if config.interval == "step":
            config.scheduler.step()  # type: ignore[call-arg]  # none that follows a metric


def take_compiled(
    trainer: Trainer,
    network: GRUNet,
    head: Head,
    means: EpochMeans,
    standardized: Callable[[Tensor], Tensor],
    block: Block,
    weights: Tensor | None,
    count: int,
) -> None:
    """Take the steps of the first ``count`` batches in compiled calls.

    Args:
        trainer: Whose optimiser takes them, and whose limit on gradients holds.
        network: One that ``compiled_steps_network`` returned; its weights are moved.
        head: What its answers mean.
        means: Take the loss and the metric of each batch.
        standardized: Turns raw sequences (batch, time, feature) into what the network reads.
        block: The batches.
        weights: Of the loss of each of its answers, (B,) or (B, S); None for 1.
        count: How many of the batches.

    Raises:
        InputError: The loss of a step is not finite.
    """
    [optimizer], moved = trainer.optimizers, weights_of(network)
    each_step = trainer.accumulate_grad_batches
    steps = -(-count // each_step)
    updates = updates_of(optimizer, moved, steps, partial(step_schedulers, trainer))
    rule = limited(accumulating(updates, each_step, count), trainer)
    state = state_of(optimizer, moved)  # after the rule, which asks whether there were moments
    task = task_of(head)
    assert task is not None
    data = _arrays(network, head, standardized, block, weights)
    called = _called(network, state, rule, data, task, block, count, each_step)
    losses, metrics, answers = map(np.concatenate, zip(*called, strict=True))
    take_over(optimizer, moved, state, steps)
    for n in np.flatnonzero(~np.isfinite(losses))[:1]:
        step = trainer.global_step + int(n) // each_step + 1
        require_finite_loss(float(losses[n]), trainer.current_epoch, step)
    counts = block.sizes[:count]
    sums = np.stack((losses * counts, counts, metrics, answers), axis=1)
    means.add(torch.from_numpy(sums))


def _called(
    network: GRUNet,
    state: State,
    rule: Updates,
    data: tuple[Any, ...],
    task: Task,
    block: Block,
    count: int,
    each_step: int,
) -> Iterator[tuple[Array, Array, Array]]:
    """Take the steps of the first ``count`` batches; yield what each compiled call returns.

    As many calls as dropout's numbers are drawn in: those of the next while one computes.
    """
    sizes, longest = block.sizes[:count], block.steps[:count]
    starts = np.cumsum([0, *sizes])
    cuts = [*pairwise(portions(network, sizes, longest, each_step))]
    shapes = [(sizes[slice(*cut)], longest[slice(*cut)]) for cut in cuts]
    with closing(ahead(partial(drawn_noise, network), shapes)) as noises:
        for (first, stop), noise in zip(cuts, noises, strict=True):
            own = starts[first : stop + 1]
            rows = slice(own[0], own[-1])  # which are checked once
            own_data: list[Any] = [None if each is None else each[rows] for each in data]
            yield train_steps(
                state,
                first,
                rule._replace(rows=rule.rows[first:stop]),
                sizes_of(network),
                tuple(own_data[:3]),
                [np.arange(*pair) for pair in pairwise(own - own[0])],
                task._replace(weights=own_data[3]),
                noise,
            )


def _arrays(
    network: GRUNet,
    head: Head,
    standardized: Callable[[Tensor], Tensor],
    block: Block,
    weights: Tensor | None,
) -> tuple[Any, ...]:
    """Return values, lengths, labels and weights as compiled steps read them; None for none."""
    lengths, labels = block.whole.lengths, block.whole.labels
    assert labels is not None
    if weights is not None and head.per_step:  # those of sequences are all their steps'
        weights = weights.view(len(weights), -1).expand(labels.shape[:2])
    if isinstance(head, ValueHead):
        labels = head.scaled(labels, network.head.weight.dtype)
    arrays = standardized(block.whole.values), lengths, labels, weights
    return tuple(None if each is None else each.numpy() for each in arrays)
