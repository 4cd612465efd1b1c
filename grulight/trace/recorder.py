"""What a run shows of itself: the stages with their shapes, and the numbers of every epoch."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from grulight.data.batches import Batch, Batches
from grulight.data.datamodule import Parts, SequenceDataModule
from grulight.data.sequences import Sequences
from grulight.model import GRUNet
from grulight.trace.baseline import most_frequent_share
from grulight.training.classifier import GRUClassifier

PARTS = ("train", "validation", "test")
_SAMPLE = 4  # values shown per stage: what fits a terminal of 80 columns


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: What happens.
        shape: What comes out, as text; the first axis counts sequences.
        detail: What one should know of it.
        sample: The first values that come out, as text: of the first training sequence, except
            for the split, where they are the first labels.
    """

    name: str
    shape: str
    detail: str
    sample: str


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


def record_stages(classifier: GRUClassifier, parts: Parts) -> list[Stage]:
    """Send the first training sequence through the pipeline and note every stage.

    The shapes are those of the whole training part; where it is empty, of the first that is not.
    """
    first = next(part for part in parts if len(part))
    steps = max(part.values.shape[1] for part in parts)
    batch = next(iter(Batches(first.part(0, 1), 1)))
    values = batch.values.to(next(classifier.parameters()))
    sizes = {name: len(part) for name, part in zip(PARTS, parts, strict=True) if len(part)}
    total = _shape(sum(sizes.values()), steps, len(first.feature_names))
    return [
        Stage("input", total, first.source, _numbers(values[0, 0])),
        Stage("split", " / ".join(map(str, sizes.values())), " / ".join(sizes), _labels(first)),
        *_layers(classifier, len(first), steps, values, batch.lengths),
    ]


def _labels(train: Sequences) -> str:
    """Return the first labels, or those of the first sequence where each step has one."""
    if train.labels is None:
        return ""
    first = (train.labels[0] if train.per_step else train.labels)[: _SAMPLE + 1]
    if train.has_values:
        return _numbers(torch.from_numpy(first[:, 0]))
    return _head([train.class_names[i] for i in first])


def _layers(
    classifier: GRUClassifier,
    count: int,
    steps: int,
    values: torch.Tensor,
    lengths: torch.Tensor | None,
) -> list[Stage]:
    training = classifier.training
    classifier.eval()
    network = classifier.network
    with torch.no_grad():
        answer = classifier.predict_step(Batch(values, lengths, None))[0]
        if isinstance(network, GRUNet):
            summary = classifier.summarize(values, lengths)[0]
            shape = (count, *summary.shape)
            stages = [
                # the kernel too, which may be a choice of `auto`
                _layer(f"GRU ({network.gru.kernel})", shape, summary, network.gru),
                _layer("dense + softmax", (count, *answer.shape), answer, network.head),
            ]
        else:
            shape = (count, *answer.shape)
            if network.follows_steps:  # the first sequence may be shorter than others
                shape = (count, steps, *answer.shape[1:])
            stages = [_layer("Keras model", shape, answer, network)]
    classifier.train(training)
    return stages


def _layer(
    name: str, shape: tuple[int, ...], output: torch.Tensor, layer: torch.nn.Module
) -> Stage:
    parameters = sum(parameter.numel() for parameter in layer.parameters())
    detail = f"{parameters:,} parameters"
    return Stage(name, _shape(*shape), detail, _numbers(output.flatten()))


def _numbers(values: torch.Tensor) -> str:
    return _head([f"{value:.2f}" for value in values[: _SAMPLE + 1].tolist()])


def _head(words: list[str]) -> str:
    return " ".join(words[:_SAMPLE]) + (" …" if len(words) > _SAMPLE else "")


def _shape(*sizes: int) -> str:
    return " × ".join(map(str, sizes))


def observe(
    now: dict[str, float], before: dict[str, float] | None, most_frequent: float = 0.0
) -> str:
    """Say in a few words what an epoch's numbers show, against the epoch before.

    Args:
        now: Of the epoch.
        before: Of the one before.
        most_frequent: Accuracy of naming the most frequent class.
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
    if now.get("train_accuracy", 1.0) <= most_frequent:
        return f"loss {change:+.0%}, no better than naming the most frequent class"
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
        self._lines: list[str] = []  # the epochs as JSON
        self.validates = False
        self.metric = "accuracy"
        self._validated = False
        self._learning_rate: float | None = None
        self._most_frequent = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the stages."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning adds it in fit
        assert isinstance(pl_module, GRUClassifier)
        assert isinstance(data, SequenceDataModule)
        self.stages = record_stages(pl_module, data.parts)
        self.validates = len(data.parts.val) > 0
        self.metric = pl_module.head.metric
        self._most_frequent = most_frequent_share(data.parts.train)

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
        observation = observe(metrics, before, self._most_frequent)
        number = trainer.current_epoch + 1
        self.epochs.append(Epoch(number, metrics, observation, self._learning_rate))

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs as one text: a checkpoint's cost grows with the objects in it."""
        self._lines += [json.dumps(vars(epoch)) for epoch in self.epochs[len(self._lines) :]]
        # an epoch that is resumed within does not begin again
        return {"epochs": "\n".join(self._lines), "learning_rate": self._learning_rate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the epochs of the run that is resumed."""
        epochs = state_dict["epochs"]
        # earlier checkpoints have a list
        lines = epochs.splitlines() if isinstance(epochs, str) else map(json.dumps, epochs)
        self._lines = list(lines)
        self.epochs = [Epoch(**json.loads(line)) for line in self._lines]
        self._learning_rate = state_dict.get("learning_rate")
