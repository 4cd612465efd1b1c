"""When a run saves itself: after each epoch, every so often, and when it is asked to stop."""

import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from weakref import proxy

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import distributed

from grulight import interruption
from grulight.errors import InputError
from grulight.files import link_whole

_EVERY = 5  # batches between questions to all processes: asked each time they would cost 10 %
_NAME = "step_{:09d}.ckpt"
_PAUSE = 1.0  # seconds that a small checkpoint may wait for the next
_SMALL = 4 * 1024**2  # bytes of weights


class RunCheckpoint(ModelCheckpoint):
    """Write ``last.ckpt`` after each epoch, and let ``best.ckpt`` be the best of these.

    One file is written where it is both: the other name is a link to it. A small model's epoch may
    take less time than its checkpoint: one process then keeps it in memory until an epoch ends a
    second after the last was written, and writes the newest and the best; what ends the training,
    an exception too, writes them.

    Args:
        loss: The metric whose smallest value is the best.
    """

    def __init__(self, loss: str) -> None:
        super().__init__(
            filename="last",
            monitor=None,
            enable_version_counter=False,
            save_on_train_epoch_end=True,  # however often there is validation
        )
        self.loss = loss
        self.best = math.inf
        self._held: dict[str, dict[str, Any]] = {}  # checkpoints that wait, by file name
        self._written_at = -math.inf

    @property
    def state_key(self) -> str:
        """A name of its own: users' ModelCheckpoints keep their states."""
        return f"RunCheckpoint({self.loss})"

    def state_dict(self) -> dict[str, Any]:
        """Return the best loss so far, beside what Lightning keeps."""
        return super().state_dict() | {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best loss, if the run goes on in the directory that has its checkpoint."""
        super().load_state_dict(state_dict)
        if state_dict["dirpath"] == self.dirpath:
            self.best = state_dict["best"]

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        loss = float(trainer.callback_metrics.get(self.loss, math.inf))
        names = ["last.ckpt"]
        if loss < self.best:
            self.best = loss
            names.append("best.ckpt")
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        self._last_global_step_saved = trainer.global_step
        waits = (
            trainer.world_size == 1
            and time.monotonic() - self._written_at < _PAUSE
            and sum(each.nbytes for each in checkpoint["state_dict"].values()) <= _SMALL
        )
        self._held |= dict.fromkeys(names, _still(checkpoint) if waits else checkpoint)
        if not waits:
            self.write_held(trainer)

    def write_held(self, trainer: Trainer) -> None:
        """Write the checkpoints that wait, the best first: killed between, a run starts from it."""
        held, self._held = self._held, {}
        last, best = held.get("last.ckpt"), held.get("best.ckpt")
        directory = Path(str(self.dirpath))
        if best is not None:
            trainer.strategy.save_checkpoint(best, directory / "best.ckpt")
        if last is not None and last is not best:
            trainer.strategy.save_checkpoint(last, directory / "last.ckpt")
        elif last is not None and trainer.is_global_zero:
            link_whole(directory / "best.ckpt", directory / "last.ckpt")
        if held:
            trainer.strategy.barrier("RunCheckpoint")
            self._written_at, self._last_checkpoint_saved = time.monotonic(), self.best_model_path
            if trainer.is_global_zero:
                for logger in trainer.loggers:
                    logger.after_save_checkpoint(proxy(self))  # as Lightning does

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what waits."""
        self.write_held(trainer)
        super().on_train_end(trainer, pl_module)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write what waits."""
        self.write_held(trainer)
        super().on_exception(trainer, pl_module, exception)


def _still(value: Any) -> Any:
    """Copy a checkpoint, whose tensors the training goes on to move."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _still(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_still, value))
    return value


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
        """Take SIGTERM over, which Lightning has just taken for itself."""
        self._signals.enter_context(interruption.terminations_noted())
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Save, and stop, where it is due.

        Raises:
            SystemExit: The run was asked to stop; all is saved.
        """
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate():  # what is accumulated is in no checkpoint
            return
        if loop.batch_progress.is_last_batch:  # an epoch's end has a checkpoint of its own
            self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
            return
        self._batches += 1
        stop = late = False
        if trainer.world_size == 1 or self._batches % _EVERY == 0:
            stop, late = self._agreed(trainer)
        if stop or late or self._due(trainer.global_step):
            self._save(trainer)
        if stop:
            raise SystemExit(interruption.EXIT_CODE)

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
        if step and step in saved and self._agreed(trainer)[0]:
            raise SystemExit(interruption.EXIT_CODE)

    def _agreed(self, trainer: Trainer) -> tuple[bool, bool]:
        """Return whether any process was asked to stop, and whether for any it is time to save."""
        minutes = (time.monotonic() - self._saved_at) / 60
        late = self.every_n_minutes is not None and minutes >= self.every_n_minutes
        if trainer.world_size == 1:
            return interruption.asked(), late
        flags = torch.tensor([interruption.asked(), late], device=trainer.strategy.root_device)
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
