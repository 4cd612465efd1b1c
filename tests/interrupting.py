"""A callback that ends its own process at a chosen moment, and what tests compare afterwards."""

import os
import signal
import subprocess
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
    """Strike this process in ``hook``, once a number of optimiser steps is done.

    ``steps`` has a number for each attempt of a job; further attempts are left alone. ``name`` is
    a signal, or ``JOB`` to kill all of a Slurm job.
    """

    def __init__(self, steps: list[int], name: str, hook: str = HOOKS[0], rank: int = 0) -> None:
        self.name, self.rank = name, rank
        self.step = steps[attempt()] if attempt() < len(steps) else None
        setattr(self, hook, self.strike)

    def strike(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        if self.step is None or trainer.global_step < self.step or trainer.global_rank != self.rank:
            return
        self.step = None
        if self.name == "JOB":
            command = ["scancel", "--signal=KILL", "--full", os.environ["SLURM_JOB_ID"]]
            subprocess.run(command, check=True)
        else:
            os.kill(os.getpid(), getattr(signal, self.name))


def attempt() -> int:
    """Return how often this job was started before."""
    for name in ("ATTEMPT", "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def strike(steps: list[int], name: str, hook: str = HOOKS[0], rank: int = 0) -> tuple[str, ...]:
    """Return the options that make `grulight fit` strike itself."""
    given = {"steps": steps, "name": name, "hook": hook, "rank": rank}
    options = [f"--trainer.callbacks.{option}={value}" for option, value in given.items()]
    return ("--trainer.callbacks+=interrupting.Strike", *options)


def environment() -> dict[str, str]:
    """Return an environment in which a process finds this module."""
    here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": here}


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
