"""The checkpoints at the ends of epochs: ``last.ckpt``, and ``best.ckpt``, the best of these."""

import math
import time
from pathlib import Path
from typing import Any
from weakref import proxy

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from grulight.files import link_whole
from grulight.runs.saving.repeated_dump import copied, dump_again, only_known

_PAUSE = 1.0  # seconds that a small checkpoint may wait for the next
_SMALL = 4 * 1024**2  # bytes of weights


class RunCheckpoint(ModelCheckpoint):
    """Write ``last.ckpt`` after each epoch, and let ``best.ckpt`` be the best of these.

    One file is written where it is both: the other name is a link to it. A small model's epoch may
    take less time than its checkpoint: one process then keeps it in memory until an epoch ends a
    second after the last was written, and writes the newest and the best; what ends the training,
    an exception too, writes them.

    Args:
        metric: The metric whose smallest value is the best.
        maximizes: Whether it is its largest instead.
        chooses: Whether the best weights are what the training is for: those that are tested.
    """

    def __init__(self, metric: str, maximizes: bool = False, chooses: bool = False) -> None:
        super().__init__(
            filename="last",
            monitor=None,
            enable_version_counter=False,
            save_on_train_epoch_end=True,  # however often there is validation
        )
        self.metric, self.maximizes, self.chooses = metric, maximizes, chooses
        self.best = -math.inf if maximizes else math.inf
        self._held: dict[str, dict[str, Any]] = {}  # checkpoints that wait, by file name
        self._before: dict[str, Any] | None = None  # dumped in this training, if known
        self._written_at = -math.inf

    @property
    def state_key(self) -> str:
        """A name of its own: users' ModelCheckpoints keep their states."""
        return f"RunCheckpoint({self.metric})"

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, beside what Lightning keeps."""
        return super().state_dict() | {"best": self.best, "chooses": self.chooses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best value, if the run goes on in the directory that has its checkpoint."""
        super().load_state_dict(state_dict)
        if state_dict["dirpath"] == self.dirpath:
            self.best = state_dict["best"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what another training has dumped."""
        super().on_train_start(trainer, pl_module)
        self._before = None

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        value = float(trainer.callback_metrics.get(self.metric, math.nan))
        names = ["last.ckpt"]
        if value > self.best if self.maximizes else value < self.best:
            self.best = value
            names.append("best.ckpt")
        recent = trainer.world_size == 1 and time.monotonic() - self._written_at < _PAUSE
        if recent and self._before is not None:
            checkpoint, waits = dump_again(trainer, self._before), True
        else:
            checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            small = sum(each.nbytes for each in checkpoint["state_dict"].values()) <= _SMALL
            self._before = checkpoint if small and only_known(trainer) else None
            waits = recent and small
            checkpoint = copied(checkpoint) if waits else checkpoint
        self._last_global_step_saved = trainer.global_step
        self._held |= dict.fromkeys(names, checkpoint)
        if not waits:
            self.write_held(trainer)

    def _monitor_candidates(self, trainer: Trainer) -> dict[str, torch.Tensor]:
        return {}  # no metric is in the file's name

    @property
    def best_path(self) -> Path | None:
        """The best checkpoint, where the best is what counts, and there is one."""
        found = self.chooses and math.isfinite(self.best)
        return Path(str(self.dirpath)) / "best.ckpt" if found else None

    def write_held(self, trainer: Trainer) -> None:
        """Write the checkpoints that wait, the best first: killed between, a run starts from it."""
        for logger in trainer.loggers:
            logger.save()  # a run that goes on from a checkpoint has no other rows of before it
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
