"""A callback that ends its own process at a chosen moment, and what tests compare afterwards."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

HOOKS = (
    "on_train_batch_start",
    "on_after_backward",
    "on_train_batch_end",
    "on_train_epoch_end",
    "on_validation_start",
)


class Strike(Callback):
    """Send a signal to this process in ``hook``, once ``step`` optimiser steps are done."""

    def __init__(
        self, step: int, name: str = "SIGUSR1", hook: str = HOOKS[0], rank: int = 0
    ) -> None:
        self.step, self.rank = step, rank
        self.signal = getattr(signal, name)
        self.struck = False
        setattr(self, hook, self.strike)

    def strike(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        if (
            trainer.global_rank == self.rank
            and trainer.global_step >= self.step
            and not self.struck
        ):
            self.struck = True
            os.kill(os.getpid(), self.signal)


def strike(step: int, name: str, hook: str = HOOKS[0], rank: int = 0) -> tuple[str, ...]:
    """Return the options that make `grulight fit` strike itself."""
    given = {"step": step, "name": name, "hook": hook, "rank": rank}
    options = [f"--trainer.callbacks.{option}={value}" for option, value in given.items()]
    return ("--trainer.callbacks+=interrupting.Strike", *options)


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(
        run / "checkpoints" / "last.ckpt", weights_only=True
    )["state_dict"]
    return state


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Check that two runs ended with the same bits and wrote the same metrics."""
    assert_same_weights(weights(ours), weights(theirs))
    assert (ours / "metrics.csv").read_text() == (theirs / "metrics.csv").read_text()


def assert_same_weights(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    differ: Iterable[str] = [name for name in theirs if not torch.equal(ours[name], theirs[name])]
    assert not differ
