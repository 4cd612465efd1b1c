"""Many optimiser steps in one of Lightning's: what it does around a step costs more than the step.

Same batches, same updates, same logged numbers as one by one; Keras calls it steps_per_execution.
"""

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim import Optimizer

from grulight.compiled import plain_network, weights_of
from grulight.data.blocks import Block
from grulight.divergence import require_finite_loss
from grulight.errors import InputError
from grulight.kernels.steps import Adam, State, train_steps
from grulight.model import GRUNet
from grulight.optim import KerasAdam
from grulight.saver import RunSaver

if TYPE_CHECKING:
    from grulight.task import GRUClassifier

MOST = 32  # steps together that are chosen where nobody asks: a signal waits for so many
_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_before_zero_grad",
)
_SLOTS = ("exp_avg", "exp_avg_sq")


def steps_together(module: "GRUClassifier", asked: int | None, batches: int) -> int:
    """Return how many optimiser steps one execution takes.

    Args:
        module: With its Trainer.
        asked: By the user; None to choose.
        batches: Batches of an epoch.

    Raises:
        InputError: More than one was asked for, and something needs to see each of them.
    """
    if asked is not None and asked < 1:
        raise InputError(f"--model.steps_per_execution {asked}: expected at least 1.")
    trainer: Any = module.trainer  # Lightning sets some of its attributes where mypy cannot see
    obstacle = None if asked == 1 else _obstacle(trainer)
    if asked is not None:
        if obstacle:
            raise InputError(f"--model.steps_per_execution {asked}: {obstacle}. Leave it out.")
        return asked
    watched = any(map(_watches_steps, trainer.callbacks)) or _has_steps_of_its_own(module)
    if obstacle or watched or not is_compiled(module):
        return 1
    savers = (each for each in trainer.callbacks if isinstance(each, RunSaver))
    every = next((each.every_n_steps for each in savers), None)
    if every is None:
        return min(batches, MOST)
    # so that an execution ends exactly where a checkpoint is asked for
    fitting = math.gcd(batches, every)
    return max(n for n in range(1, min(fitting, MOST) + 1) if fitting % n == 0)


def _obstacle(trainer: Any) -> str | None:
    """Say what needs every step to be one of Lightning's, if anything does."""
    limits = (trainer.limit_train_batches, trainer.val_check_interval, trainer.overfit_batches)
    by_step = any(each.interval == "step" for each in trainer.lr_scheduler_configs)
    reasons = {
        "several processes share each step": trainer.world_size > 1,
        "gradients are accumulated": trainer.accumulate_grad_batches != 1,
        "gradients are clipped": bool(trainer.gradient_clip_val),
        "a learning rate changes at each step": by_step,
        "a limit counts batches": limits != (1.0, 1.0, 0.0),
        "losses are scaled (16-mixed)": trainer.precision == "16-mixed",
        "there are several optimisers": len(trainer.optimizers) > 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _watches_steps(callback: Callback) -> bool:
    """Return whether a callback of the user's has to do with single steps."""
    if isinstance(callback, ModelCheckpoint):
        return bool(callback._every_n_train_steps or callback._train_time_interval)
    if type(callback).__module__.startswith("grulight."):
        return False
    return any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
        for hook in _HOOKS
    )


def _has_steps_of_its_own(module: "GRUClassifier") -> bool:
    """Return whether a class of the user's has to do with single steps."""
    own = type(module)
    if own.__module__.startswith("grulight."):
        return False
    names = (*_HOOKS, "training_step", "evaluate", "optimizer_step", "backward")
    return any(name in vars(each) for each in own.__mro__ if not _is_base(each) for name in names)


def _is_base(kind: type) -> bool:
    return kind.__module__.startswith(("grulight.", "lightning.", "torch."))


def is_compiled(module: "GRUClassifier") -> bool:
    """Return whether the steps can be taken by one compiled call."""
    network, trainer = plain_network(module), module.trainer
    if network is None:
        return False
    optimizer, weights = trainer.optimizers[0], weights_of(network)
    [group, *others] = optimizer.param_groups
    return (
        trainer.precision in ("32-true", "64-true")
        and not network.dropout.p
        and type(optimizer) is KerasAdam
        and not others
        and not group["amsgrad"]
        and list(map(id, group["params"])) == list(map(id, weights))
        and all(weight.requires_grad for weight in weights)
    )


def go_on_within_epoch(module: "GRUClassifier", checkpoint: dict[str, Any]) -> int | None:
    """Return how many steps to take together to finish an epoch that a checkpoint is within.

    As many as before, where the run allows it; else one by one, for which Lightning's count of
    the epoch's batches is changed in the checkpoint. None where no epoch is to be finished.
    """
    loops = checkpoint.get("loops", {}).get("fit_loop", {})
    batches = loops.get("epoch_loop.batch_progress")
    served = loops.get("state_dict", {}).get("combined_loader")
    if not served or batches["is_last_batch"]:
        return None
    if "batch" not in served[0]:  # of a loader of the user's
        return None
    before: int = served[0].setdefault("steps_per_execution", 1)  # which older ones lack
    if before == 1 or _obstacle(module.trainer) is None:
        return before
    served[0]["steps_per_execution"] = 1
    done = served[0]["batch"]
    batches["current"] |= {"ready": done, "started": done, "processed": done, "completed": done - 1}
    return 1


def execute(module: "GRUClassifier", block: Block) -> None:
    """Take a step for each batch of a block, and count them all as Lightning's."""
    loop = module.trainer.fit_loop.epoch_loop
    count = len(block.sizes)
    if loop.max_steps != -1:
        count = min(count, loop.max_steps - loop.global_step)
    if count < len(block.sizes):
        loop.batch_progress.is_last_batch = False  # of an epoch that is not finished
    if is_compiled(module):
        _compiled(module, block, count)
    else:
        _one_by_one(module, block, count)
    # Lightning counts the one step that it knows of
    steps = loop.automatic_optimization.optim_progress.optimizer.step
    for progress in (steps.total, steps.current):
        progress.ready += count - 1
        progress.completed += count - 1
    loop._batches_that_stepped += count - 1


def _one_by_one(module: "GRUClassifier", block: Block, count: int) -> None:
    [optimizer] = module.trainer.optimizers
    for _, batch in zip(range(count), block.split(), strict=False):
        optimizer.zero_grad()
        torch.autograd.backward(module.evaluate(batch, module.train_means))
        optimizer.step()
    optimizer.zero_grad()


def _compiled(module: "GRUClassifier", block: Block, count: int) -> None:
    [optimizer] = module.trainer.optimizers
    [group] = optimizer.param_groups
    tables = [group["params"], *(_moments(optimizer, group, name) for name in _SLOTS)]
    views = [[each.detach().numpy().reshape(-1) for each in table] for table in tables]
    state = State(*map(np.concatenate, views))
    starts = np.concatenate(([0], np.cumsum(block.sizes[:count])))
    lengths, labels = block.whole.lengths, block.whole.labels
    assert labels is not None
    network = module.network
    assert isinstance(network, GRUNet)
    gru = network.gru
    losses, rights = train_steps(
        state,
        group["step"],
        Adam(group["lr"], group["betas"], group["eps"], group["weight_decay"]),
        (gru.input_size, gru.hidden_size, gru.bias),
        (
            module.standardized(block.whole.values).numpy(),
            None if lengths is None else lengths.numpy(),
            labels.numpy(),
        ),
        [np.arange(*each) for each in pairwise(starts)],
    )
    for vector, parts in zip(state, views, strict=True):
        at = 0
        for part in parts:
            part[:] = vector[at : at + part.size]
            at += part.size
    group["step"] += count
    trainer = module.trainer
    for n in np.flatnonzero(~np.isfinite(losses))[:1]:
        require_finite_loss(float(losses[n]), trainer.current_epoch, trainer.global_step + n + 1)
    counts = np.diff(starts)
    sums = np.stack((losses * counts, counts, rights, counts), axis=1)
    module.train_means.add(torch.from_numpy(sums))


def _moments(optimizer: Optimizer, group: dict[str, Any], name: str) -> list[torch.Tensor]:
    states = [optimizer.state[parameter] for parameter in group["params"]]
    for parameter, state in zip(group["params"], states, strict=True):
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        ours, theirs = (
            (type(each), getattr(each, "dtype", None), tuple(getattr(each, "shape", ())))
            for each in (state[name], parameter.data)
        )
        if ours != theirs:
            raise InputError(
                f"the optimiser's {name} is {ours[1]} of shape {ours[2]}, expected {theirs[1]} of "
                f"{theirs[2]} as its weight is. The checkpoint that was resumed is damaged; "
                "start from another."
            )
        state[name] = state[name].contiguous()  # it is moved in place
    return [state[name] for state in states]
