"""Many optimiser steps in one of Lightning's: what it does around a step costs more than the step.

Same batches, same updates, same logged numbers as one by one; Keras calls it steps_per_execution.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.optim import Optimizer

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.errors import InputError
from grulight.heads import Head, ValueHead
from grulight.kernels.steps import Adam, State, train_steps
from grulight.model import GRUNet
from grulight.training.compiled_network import task_of
from grulight.training.divergence import require_finite_loss
from grulight.training.epoch_means import EpochMeans

_SLOTS = ("exp_avg", "exp_avg_sq")


def execute(trainer: Trainer, block: Block, take: Callable[[Block, int], None]) -> None:
    """Take a step for each batch of a block, and count them all as Lightning's.

    Args:
        trainer: Whose limit on steps holds, and whose counters go on.
        block: The batches.
        take: Takes the steps of the first so many batches of the block.
    """
    loop = trainer.fit_loop.epoch_loop
    count = len(block.sizes)
    if loop.max_steps != -1:
        count = min(count, loop.max_steps - loop.global_step)
    if count < len(block.sizes):
        loop.batch_progress.is_last_batch = False  # of an epoch that is not finished
    take(block, count)
    # Lightning counts the one step that it knows of
    steps = loop.automatic_optimization.optim_progress.optimizer.step
    for progress in (steps.total, steps.current):
        progress.ready += count - 1
        progress.completed += count - 1
    loop._batches_that_stepped += count - 1


def take_one_by_one(
    optimizer: Optimizer, loss_of: Callable[[Batch], Tensor], block: Block, count: int
) -> None:
    """Take the steps of the first ``count`` batches through autograd."""
    for _, batch in zip(range(count), block.split(), strict=False):
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(batch))
        optimizer.step()
    optimizer.zero_grad()


def take_compiled(
    network: GRUNet,
    head: Head,
    optimizer: Optimizer,
    means: EpochMeans,
    standardized: Callable[[Tensor], Tensor],
    block: Block,
    weights: Tensor | None,
    count: int,
    epoch: int,
    step: int,
) -> None:
    """Take the steps of the first ``count`` batches in one compiled call.

    Args:
        network: One that ``compiled_steps_network`` returned; its weights are moved.
        head: What its answers mean.
        optimizer: Its KerasAdam, whose moments are moved.
        means: Take the loss and the metric of each batch.
        standardized: Turns raw sequences (batch, time, feature) into what the network reads.
        block: The batches.
        weights: Of the loss of each of its answers, (B,) or (B, S); None for 1.
        count: How many of the batches.
        epoch: The current one, for messages.
        step: Steps taken before, for messages.

    Raises:
        InputError: The loss of a step is not finite.
    """
    [group] = optimizer.param_groups
    tables = [group["params"], *(_moments(optimizer, group, name) for name in _SLOTS)]
    views = [[each.detach().numpy().reshape(-1) for each in table] for table in tables]
    state = State(*map(np.concatenate, views))
    starts = np.concatenate(([0], np.cumsum(block.sizes[:count])))
    lengths, labels = block.whole.lengths, block.whole.labels
    task = task_of(head)
    assert labels is not None
    assert task is not None
    if weights is not None:
        task = task._replace(weights=weights.numpy())
    if isinstance(head, ValueHead):
        labels = head.scaled(labels, network.head.weight.dtype)
    gru = network.gru
    losses, metrics, answers = train_steps(
        state,
        group["step"],
        Adam(group["lr"], group["betas"], group["eps"], group["weight_decay"]),
        (gru.input_size, gru.hidden_size, gru.bias),
        (
            standardized(block.whole.values).numpy(),
            None if lengths is None else lengths.numpy(),
            labels.numpy(),
        ),
        [np.arange(*each) for each in pairwise(starts)],
        task,
    )
    for vector, parts in zip(state, views, strict=True):
        at = 0
        for part in parts:
            part[:] = vector[at : at + part.size]
            at += part.size
    group["step"] += count
    for n in np.flatnonzero(~np.isfinite(losses))[:1]:
        require_finite_loss(float(losses[n]), epoch, step + n + 1)
    counts = np.diff(starts)
    sums = np.stack((losses * counts, counts, metrics, answers), axis=1)
    means.add(torch.from_numpy(sums))


def _moments(optimizer: Optimizer, group: dict[str, Any], name: str) -> list[torch.Tensor]:
    states = [optimizer.state[parameter] for parameter in group["params"]]
    for parameter, state in zip(group["params"], states, strict=True):
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        _require_like(name, state[name], parameter.data)
        state[name] = state[name].contiguous()  # it is moved in place
    return [state[name] for state in states]


def _require_like(name: str, moment: object, weight: Tensor) -> None:
    ours, theirs = (
        (type(each), getattr(each, "dtype", None), tuple(getattr(each, "shape", ())))
        for each in (moment, weight)
    )
    if ours != theirs:
        raise InputError(
            f"the optimiser's {name} is {ours[1]} of shape {ours[2]}, expected {theirs[1]} of "
            f"{theirs[2]} as its weight is. The checkpoint that was resumed is damaged; "
            "start from another."
        )
