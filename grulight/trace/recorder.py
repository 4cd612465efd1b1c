"""Record a run: its stages, and the numbers of every epoch with what they show."""

import json
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from grulight.data.datamodule import SequenceDataModule
from grulight.trace.baseline import Baseline, baseline_of
from grulight.trace.stages import Stage, record_stages
from grulight.training.classifier import GRUClassifier


@dataclass(frozen=True)
class Epoch:
    """The numbers of one epoch.

    Attributes:
        number: Counted from 1.
        metrics: ``train_loss``, ``train_accuracy`` (or ``train_mae``), and ``val_…`` where there
            is validation.
        observation: What the numbers say, against the epoch before.
        learning_rate: The one that the epoch began with, where it is known.
    """

    number: int
    metrics: dict[str, float]
    observation: str
    learning_rate: float | None = None


def observe(
    now: dict[str, float], before: dict[str, float] | None, baseline: Baseline | None = None
) -> str:
    """Say in a few words what an epoch's numbers show, against the epoch before.

    Args:
        now: Of the epoch.
        before: Of the one before.
        baseline: What one reaches without reading anything, where it is known.
    """
    if before is None:
        return f"first pass: {_reached(now)}"
    change = _change("train_loss", now, before)
    if (
        "val_loss" in now
        and now["val_loss"] > before.get("val_loss", now["val_loss"])
        and change < 0
    ):
        return f"loss {change:+.0%}, validation loss rose: memorising?"
    if abs(change) < 0.01:
        return "hardly moves"
    if baseline is not None and baseline.as_good_as(now):
        return f"loss {change:+.0%}, {baseline.words}"
    verdict = "learning" if change < 0 else "worse than the epoch before"
    return f"{verdict}: loss {change:+.0%}, {_gained(now, before)}"


def _change(name: str, now: dict[str, float], before: dict[str, float]) -> float:
    return (now[name] - before[name]) / max(before[name], 1e-12)


def _reached(now: dict[str, float]) -> str:
    if "train_accuracy" in now:
        return f"{now['train_accuracy']:.0%} right"
    return f"{now['train_mae']:.3g} off on average"


def _gained(now: dict[str, float], before: dict[str, float]) -> str:
    if "train_accuracy" in now:
        gain = 100 * (now["train_accuracy"] - before["train_accuracy"])
        return f"accuracy {gain:+.1f} points"
    return f"mae {_change('train_mae', now, before):+.0%}"


class TraceRecorder(Callback):
    """Record the stages and every epoch; kept in checkpoints, so that a resumed run has all."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.epochs: list[Epoch] = []
        self._text = ""  # the first epochs as lines of JSON
        self._told = 0  # how many these are
        self.validates = False
        self.metric = "accuracy"
        self._validated = False
        self._learning_rate: float | None = None
        self._baseline: Baseline | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the stages."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning adds it in fit
        assert isinstance(pl_module, GRUClassifier)
        assert isinstance(data, SequenceDataModule)
        self.stages = record_stages(pl_module, data.parts)
        self.validates = len(data.parts.val) > 0
        self.metric = pl_module.head.metric
        self._baseline = baseline_of(data.parts.train, pl_module.head)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the learning rate that this epoch begins with."""
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._learning_rate = float(groups[0]["lr"]) if groups else None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that this epoch has validation numbers."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch's numbers."""
        assert isinstance(pl_module, GRUClassifier)
        stages = ["train", "val"] if self._validated else ["train"]
        self._validated = False
        metrics = {
            name: float(value)
            for stage in stages
            for name, value in pl_module.epoch_metrics(stage).items()
        }
        before = self.epochs[-1].metrics if self.epochs else None
        observation = observe(metrics, before, self._baseline)
        number = trainer.current_epoch + 1
        self.epochs.append(Epoch(number, metrics, observation, self._learning_rate))

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs as one text: a checkpoint's cost grows with the objects in it."""
        lines = [json.dumps(vars(epoch)) for epoch in self.epochs[self._told :]]
        self._text = "\n".join(filter(None, [self._text, *lines]))
        self._told = len(self.epochs)
        # an epoch that is resumed within does not begin again
        return {"epochs": self._text, "learning_rate": self._learning_rate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the epochs of the run that is resumed."""
        epochs = state_dict["epochs"]
        # earlier checkpoints have a list
        self._text = epochs if isinstance(epochs, str) else "\n".join(map(json.dumps, epochs))
        self.epochs = [Epoch(**json.loads(line)) for line in self._text.splitlines()]
        self._told = len(self.epochs)
        self._learning_rate = state_dict.get("learning_rate")
