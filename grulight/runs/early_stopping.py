"""Stopping a training that no longer gets better: ``--early_stopping METRIC``."""

from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from grulight.errors import InputError

_MORE_IS_BETTER = ("accuracy", "r2", "auc", "f1", "precision", "recall")


class StopEarly:
    """Stop a training whose metric no longer gets better, and test its best weights.

    Args:
        monitor: The metric that is watched, such as val_loss; None for all epochs.
        patience: How many epochs in a row may bring nothing better.
        min_delta: What a value has to be better by.
        mode: Whether less or more is better; ``auto`` knows by the metric's name.

    Raises:
        InputError: A number is out of its range, or nothing is watched.
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Literal["auto", "min", "max"] = "auto",
    ) -> None:
        if patience < 1:
            raise InputError(f"--early_stopping.patience {patience}: expected at least 1.")
        if not min_delta >= 0:
            raise InputError(f"--early_stopping.min_delta {min_delta}: expected at least 0.")
        if monitor is None and (patience, min_delta, mode) != (10, 0.0, "auto"):
            raise InputError("--early_stopping: name a metric to watch, such as val_loss.")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.maximizes = mode == "max" or (mode == "auto" and maximizes(monitor or ""))

    def callback(self) -> EarlyStopping | None:
        """Return what stops the training; None where nothing is watched."""
        if self.monitor is None:
            return None
        return _EarlyStopping(
            self.monitor,
            self.min_delta,
            self.patience,
            mode="max" if self.maximizes else "min",
            # a metric of the training is there after every epoch, however rare validation is
            check_on_train_epoch_end=self.monitor.startswith("train_") or None,
        )


class _EarlyStopping(EarlyStopping):
    """Lightning's, whose patience is what the resumed run asks for."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over how long nothing got better."""
        super().load_state_dict(state_dict | {"patience": self.patience})


def maximizes(metric: str) -> bool:
    """Return whether more of a metric is better, as its name has it."""
    return metric.endswith(_MORE_IS_BETTER)


def stay_stopped(trainer: Trainer) -> None:
    """Let a run that was stopped early, and is resumed, not train an epoch more."""
    for each in trainer.early_stopping_callbacks:
        if each.stopped_epoch and each.wait_count >= each.patience:
            trainer.should_stop = True


def stopped_words(trainer: Trainer) -> str | None:
    """Return a line that says why a training ended before its last epoch; None if it did not."""
    for each in trainer.early_stopping_callbacks if trainer.should_stop else ():
        if each.stopped_epoch and each.stopping_reason_message:
            reason = each.stopping_reason_message.removesuffix(" Signaling Trainer to stop.")
            return f"stopped early, after epoch {each.stopped_epoch + 1}: {reason}"
    return None
