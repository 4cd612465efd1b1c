"""How many optimiser steps one of Lightning's takes: as many as nothing has to see one by one."""

import math
from typing import Any

from lightning.pytorch import Trainer
from torch import nn

from grulight.data.blocks import Blocks
from grulight.data.on_device import most_together
from grulight.data.serving import ServingDataModule
from grulight.errors import InputError, option
from grulight.heads import Head
from grulight.training import reasons
from grulight.training.one_by_one import (
    forbidding,
    why_not_in_compiled_calls,
    why_one_by_one,
)
from grulight.training.recordable import records_steps

MOST = 32  # steps together that are chosen where nobody asks: a signal waits for so many


def batches_per_execution(
    trainer: Any, network: nn.Module, head: Head, asked: int | None, batches: int
) -> int:
    """Return how many batches one execution takes, for one optimiser step or more.

    Args:
        trainer: Lightning's, which sets some of its attributes where mypy cannot see.
        network: What is trained.
        head: What its answers mean.
        asked: Steps, by the user; None to choose.
        batches: Batches of an epoch.

    Raises:
        InputError: More than one was asked for, and something needs to see each of them.
    """
    if asked is not None and asked < 1:
        raise InputError(f"{option('model.steps_per_execution', asked)}: expected at least 1.")
    if asked is not None:
        obstacle = forbidding(trainer) or (None if trainer.optimizers else reasons.EARLY)
        if asked > 1 and obstacle:
            raise InputError(
                f"{option('model.steps_per_execution', asked)}: {obstacle.words}. Leave it out."
            )
        return 1 if asked == 1 else asked * int(trainer.accumulate_grad_batches)
    if why_one_by_one(trainer, network, head) is not None:
        return 1
    return _fitting(trainer, batches)


def _fitting(trainer: Any, batches: int) -> int:
    """Return how many batches of an epoch's to take together, as its checkpoints allow."""
    each, every = int(trainer.accumulate_grad_batches), _every(trainer)
    steps, most = -(-batches // each), max(1, _most(trainer) // each)
    if every is None:
        return min(steps, most) * each
    # so that an execution ends exactly where a checkpoint is asked for
    fitting = math.gcd(steps, every)
    return max(n for n in range(1, min(fitting, most) + 1) if fitting % n == 0) * each


def _most(trainer: Any) -> int:
    """Return how many batches are taken together at most: those for which a GPU has room."""
    data = getattr(trainer, "datamodule", None)
    if not records_steps(trainer) or not isinstance(data, ServingDataModule):
        return MOST
    return most_together(data.parts.train, data.batch_size, trainer.strategy.root_device, MOST)


def _every(trainer: Any) -> int | None:
    """Return after how many steps a callback saves (RunSaver), if one does."""
    return next(filter(None, (getattr(c, "every_n_steps", None) for c in trainer.callbacks)), None)


def line_of_steps(
    trainer: Any, network: nn.Module, head: Head, asked: int | None, resumed: int | None
) -> str | None:
    """Return a line that says why steps are not taken in compiled calls; None where they are.

    Args:
        trainer: Which has its training batches.
        network: What is trained.
        head: What its answers mean.
        asked: How many together were asked for; None for no number.
        resumed: How many together the epoch that is resumed began with; None for no such epoch.
    """
    loader = trainer.train_dataloader
    if isinstance(loader, Blocks):
        why = why_not_in_compiled_calls(trainer, network, head)
        count = -(-loader.steps_per_execution // trainer.accumulate_grad_batches)
        return why and f"steps: {count} together, but not in a compiled call ({why.words})"
    if resumed is not None:
        why = reasons.BEGUN
    elif asked is not None:
        why = reasons.ASKED
    else:
        why = why_one_by_one(trainer, network, head) or reasons.BATCH
        if why is reasons.BATCH and len(loader) > 1:
            every = _every(trainer)
            why = reasons.SAVED.of(every) if every else reasons.EARLY
    return f"steps: one by one ({why})"


def go_on_within_epoch(trainer: Trainer, checkpoint: dict[str, Any]) -> int | None:
    """Return how many batches to take together to finish an epoch that a checkpoint is within.

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
    whole = before % trainer.accumulate_grad_batches == 0  # steps
    if before == 1 or (whole and forbidding(trainer) is None):
        return before
    served[0]["steps_per_execution"] = 1
    done = served[0]["batch"]
    batches["current"] |= {"ready": done, "started": done, "processed": done, "completed": done - 1}
    return 1
