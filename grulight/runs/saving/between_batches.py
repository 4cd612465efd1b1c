"""Checkpoints between two batches: every so often, and when the run is asked to stop."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.errors import InputError
from grulight.runs import signals
from grulight.runs.early_stopping import stay_stopped
from grulight.runs.saving.epoch_checkpoint import RunCheckpoint

_EVERY = 5  # batches between questions to all processes: asked each time they would cost 10 %
_NAME = "step_{:09d}.ckpt"


class RunSaver(Callback):
    """Save between two batches, on all processes at the same one.

    A process may be asked to stop (SIGUSR1, SIGTERM) at any moment; it only notes so. Between
    batches all processes agree on whether any was, save, and leave with exit code 75.

    Args:
        every_n_steps: Optimiser steps between checkpoints; None for none but at epochs' ends.
        every_n_minutes: Minutes between checkpoints; None likewise.
        keep: How many of these are kept, the newest.
    """

    def __init__(
        self,
        every_n_steps: int | None = None,
        every_n_minutes: float | None = None,
        keep: int = 2,
    ) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("every_n_minutes", every_n_minutes)):
            if value is not None and value <= 0:
                raise InputError(f"--checkpoint.{name} {value}: expected more than 0.")
        if keep < 1:
            raise InputError(f"--checkpoint.keep {keep}: expected at least 1.")
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self.keep = keep
        self._signals = ExitStack()
        self._batches = self._saved_step = 0
        self._saved_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM over, which Lightning has just taken for itself; a stopped run stays so."""
        stay_stopped(trainer)
        self._signals.enter_context(signals.terminations_noted())
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch | Block,
        index: int,
    ) -> None:
        """Save, and stop, where it is due.

        Raises:
            SystemExit: The run was asked to stop; all is saved.
        """
        loop = trainer.fit_loop.epoch_loop
        whole = isinstance(batch, Block)  # of which nothing is left over
        if loop._should_accumulate() and not whole:  # what is accumulated is in no checkpoint
            return
        if loop.batch_progress.is_last_batch:  # an epoch's end has a checkpoint of its own
            self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
            return
        self._batches += 1
        stop = late = False
        if trainer.world_size == 1 or self._batches % _EVERY == 0:
            stop, late = self._agree_on_stop_and_save(trainer)
        if stop or late or self._due(trainer.global_step):
            self._save(trainer)
        if stop:
            raise SystemExit(signals.EXIT_CODE)

    def _due(self, step: int) -> bool:
        """Return whether a multiple of ``every_n_steps`` was reached since the last checkpoint."""
        each = self.every_n_steps
        return each is not None and step // each > self._saved_step // each

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between two epochs, where the one before has left its checkpoint.

        Raises:
            SystemExit: The run was asked to stop; all is saved.
        """
        step = trainer.global_step
        saved = [
            getattr(each, "_last_global_step_saved", -1) for each in trainer.checkpoint_callbacks
        ]
        if step and step in saved and self._agree_on_stop_and_save(trainer)[0]:
            raise SystemExit(signals.EXIT_CODE)

    def _agree_on_stop_and_save(self, trainer: Trainer) -> tuple[bool, bool]:
        """Return whether any process was asked to stop, and whether for any it is time to save."""
        minutes = (time.monotonic() - self._saved_at) / 60
        late = self.every_n_minutes is not None and minutes >= self.every_n_minutes
        if trainer.world_size == 1:
            return signals.asked(), late
        flags = torch.tensor([signals.asked(), late], device=trainer.strategy.root_device)
        flags = flags.int()
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        stop, late = flags.bool().tolist()
        return stop, late

    def _save(self, trainer: Trainer) -> None:
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
        [own] = [each for each in trainer.checkpoint_callbacks if isinstance(each, RunCheckpoint)]
        directory = Path(str(own.dirpath))
        own.write_held(trainer)  # else its best, which the next one counts on, would be in no file
        trainer.save_checkpoint(directory / _NAME.format(trainer.global_step))
        if trainer.is_global_zero:
            for old in sorted(directory.glob("step_*.ckpt"))[: -self.keep]:
                old.unlink(missing_ok=True)

    def on_exception(self, *args: Any) -> None:
        """Give SIGTERM back; Lightning tears nothing down after an exception."""
        self._signals.close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give SIGTERM back."""
        self._signals.close()
