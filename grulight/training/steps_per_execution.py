"""How many optimiser steps one of Lightning's takes: as many as nothing has to see one by one."""

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from torch import nn

from grulight.errors import InputError
from grulight.heads import Head
from grulight.model import GRUNet
from grulight.training.compiled_network import trainable, weights_of
from grulight.training.compiled_updates import compilable_updates

MOST = 32  # steps together that are chosen where nobody asks: a signal waits for so many
_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_before_zero_grad",
)
_OWN = (
    "training_step",
    "evaluate",
    "optimizer_step",
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
)


def steps_per_execution(
    trainer: Any, network: nn.Module, head: Head, asked: int | None, batches: int
) -> int:
    """Return how many optimiser steps one execution takes.

    Args:
        trainer: Lightning's, which sets some of its attributes where mypy cannot see.
        network: What is trained.
        head: What its answers mean.
        asked: By the user; None to choose.
        batches: Batches of an epoch.

    Raises:
        InputError: More than one was asked for, and something needs to see each of them.
    """
    if asked is not None and asked < 1:
        raise InputError(f"--model.steps_per_execution {asked}: expected at least 1.")
    obstacle = None if asked == 1 else _obstacle(trainer)
    if asked is not None:
        if obstacle:
            raise InputError(f"--model.steps_per_execution {asked}: {obstacle}. Leave it out.")
        return asked
    own = _has_steps_of_its_own(type(trainer.lightning_module))
    watched = own or any(map(_watches_steps, trainer.callbacks))
    if obstacle or watched or compiled_steps_network(trainer, network, head) is None:
        return 1
    # a callback that saves every so many steps (RunSaver)
    every = next(filter(None, (getattr(c, "every_n_steps", None) for c in trainer.callbacks)), None)
    if every is None:
        return min(batches, MOST)
    # so that an execution ends exactly where a checkpoint is asked for
    fitting = math.gcd(batches, every)
    return max(n for n in range(1, min(fitting, MOST) + 1) if fitting % n == 0)


def _obstacle(trainer: Any) -> str | None:
    """Say what needs every step to be one of Lightning's, if anything does."""
    limits = (trainer.limit_train_batches, trainer.val_check_interval, trainer.overfit_batches)
    schedulers = [each for each in trainer.lr_scheduler_configs if each.interval == "step"]
    irregular = any(each.frequency != 1 or each.reduce_on_plateau for each in schedulers)
    reasons = {
        "several processes share each step": trainer.world_size > 1,
        "gradients are accumulated": trainer.accumulate_grad_batches != 1,
        "a learning rate follows a metric, or some steps only": irregular,
        "a limit counts batches": limits != (1.0, 1.0, 0.0),
        "losses are scaled (16-mixed)": trainer.precision == "16-mixed",
        "there are several optimisers": len(trainer.optimizers) > 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _watches_steps(callback: Callback) -> bool:
    """Return whether a callback of the user's has to do with single steps."""
    if isinstance(callback, Timer):  # --trainer.max_time: it may look between executions
        return False
    if isinstance(callback, ModelCheckpoint):
        return bool(callback._every_n_train_steps or callback._train_time_interval)
    if type(callback).__module__.startswith("grulight."):
        return False
    return any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
        for hook in _HOOKS
    )


def _has_steps_of_its_own(own: type[LightningModule]) -> bool:
    """Return whether a class of the user's has to do with single steps."""
    if own.__module__.startswith("grulight."):
        return False
    names = (*_HOOKS, *_OWN)
    return any(name in vars(each) for each in own.__mro__ if not _is_base(each) for name in names)


def _is_base(kind: type) -> bool:
    return kind.__module__.startswith(("grulight.", "lightning.", "torch."))


def compiled_steps_network(trainer: Any, network: nn.Module, head: Head) -> GRUNet | None:
    """Return the network if one compiled call can take its steps with the Trainer's optimiser."""
    plain = trainable(network, head)
    if plain is None:
        return None
    shares = plain.gru.dropout, plain.dropout.p
    compiled = (
        trainer.precision in ("32-true", "64-true")
        and type(plain.dropout) is nn.Dropout
        and all(0 <= each < 1 for each in shares)
        and compilable_updates(trainer.optimizers[0], weights_of(plain))
    )
    return plain if compiled else None


def go_on_within_epoch(trainer: Trainer, checkpoint: dict[str, Any]) -> int | None:
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
    if before == 1 or _obstacle(trainer) is None:
        return before
    served[0]["steps_per_execution"] = 1
    done = served[0]["batch"]
    batches["current"] |= {"ready": done, "started": done, "processed": done, "completed": done - 1}
    return 1
