"""The trace on the terminal."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.bar import Bar
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from grulight.errors import one_line
from grulight.runs.seeds import spread
from grulight.trace.numbers import fitted
from grulight.trace.recorder import Epoch, TraceRecorder
from grulight.trace.scores import ClassScores
from grulight.trace.stages import Stage
from grulight.training.classifier import GRUClassifier
from grulight.training.confusion import Confusion

_PAUSE = 0.1  # seconds between rows: to print one takes as long as three optimiser steps
_NAME = 80  # characters of a name, or of a few
_LOSS = 8  # characters of the column of losses
_CHART_ROWS = 12  # a longer training is thinned out
_CLASS_ROWS = 30
MATRIX_CLASSES = 12  # a wider confusion matrix does not fit a terminal


class TerminalTrace(Callback):
    """Print the stages when training starts and a row after each epoch, ten times a second."""

    def __init__(self, recorder: TraceRecorder, console: Console) -> None:
        self.recorder = recorder
        self.console = console
        self._rows: list[str] = []  # that are not printed yet
        self._printed_at = -math.inf

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the stages and the head of the epoch rows."""
        if trainer.is_global_zero:
            self.console.print(stage_table(self.recorder.stages))
            assert isinstance(pl_module, GRUClassifier)
            for line in filter(None, (pl_module.line_of_steps, pl_module.line_of_data)):
                self.console.print(one_line(line), style="dim", markup=False, soft_wrap=True)
            metric = self.recorder.metric
            validation = f"val loss / {metric}" if self.recorder.validates else None
            head = _columns("epoch", "loss", metric, validation, "observation")
            self.console.print(head, style="bold", soft_wrap=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch's row."""
        if trainer.is_global_zero:
            recorder = self.recorder
            row = epoch_row(recorder.epochs[-1], recorder.validates, recorder.metric)
            self._rows.append(row)
            if time.monotonic() - self._printed_at >= _PAUSE:
                self._print_rows()

    def _print_rows(self) -> None:
        if self._rows:
            self.console.out("\n".join(self._rows), highlight=False)
        self._rows, self._printed_at = [], time.monotonic()

    def on_exception(self, *args: Any) -> None:
        """Print the rows that are left."""
        self._print_rows()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the rows that are left, and draw the loss of every epoch."""
        self._print_rows()
        if trainer.is_global_zero and self.recorder.epochs:
            self.console.print(loss_chart(self.recorder.epochs))


def shown(name: object) -> str:
    """Return a name from anywhere as a terminal can show it: no escape sequence, no markup."""
    return escape(one_line(name, _NAME))


def stage_table(stages: Sequence[Stage]) -> Table:
    """Return the pipeline as a table: a row per stage with its shape and its first values."""
    table = Table("stage", "shape", "what", "first values", box=None, pad_edge=False)
    for stage in stages:
        table.add_row(stage.name, stage.shape, shown(stage.detail), shown(stage.sample))
    return table


def epoch_row(epoch: Epoch, validates: bool, metric: str = "accuracy") -> str:
    """Return an epoch as a line: number, loss, metric, validation, observation."""
    metrics = epoch.metrics
    validation = "" if validates else None
    if "val_loss" in metrics:
        both = (fitted(metrics[name]) for name in ("val_loss", f"val_{metric}"))
        validation = " / ".join(both)
    return _columns(
        str(epoch.number),
        fitted(metrics["train_loss"], _LOSS - 1),
        fitted(metrics[f"train_{metric}"]),
        validation,
        epoch.observation,
    )


def _columns(number: str, loss: str, metric: str, validation: str | None, observation: str) -> str:
    middle = "" if validation is None else f"{validation:<22}"
    return f"{number:>5}  {loss:<{_LOSS}}{metric:<10}{middle}{observation}"


def loss_chart(epochs: Sequence[Epoch]) -> Table:
    """Return the training loss as bars, one per epoch or, in a long training, per few epochs."""
    shown = np.unique(np.linspace(0, len(epochs) - 1, _CHART_ROWS).round().astype(int))
    highest = max(epoch.metrics["train_loss"] for epoch in epochs)
    chart = Table("epoch", "loss", "", box=None, pad_edge=False)
    for index in shown:
        loss = epochs[index].metrics["train_loss"]
        bar = Bar(highest, 0, loss, width=40)
        chart.add_row(str(epochs[index].number), fitted(loss, digits=2), bar)
    return chart


def score_table(title: str, scores: dict[str, float]) -> Table:
    """Return named scores as a table."""
    table = Table(title, "", box=None, pad_edge=False)
    for name, value in scores.items():
        name = name.removeprefix("test_").removeprefix("val_").replace("_", " ")
        table.add_row(name, fitted(value))
    return table


def seed_line(seed: int, scores: Mapping[str, float]) -> str:
    """Return what the model of one seed reached in the test, as a line."""
    found = (f"{_words(name)} {value:.4f}" for name, value in scores.items())
    return f"seed {seed}: {', '.join(found)}"


def spread_table(scores: Mapping[int, Mapping[str, float]], ensemble: Mapping[str, float]) -> Table:
    """Return the mean and the standard deviation of each score over the seeds as a table.

    Args:
        scores: Of the model of each seed.
        ensemble: Of the mean of their predictions.
    """
    head = (f"test, {len(scores)} seeds", "mean", "± deviation", "ensemble")
    table = Table(*head, box=None, pad_edge=False)
    for name in next(iter(scores.values())):
        mean, deviation = spread([each[name] for each in scores.values()])
        table.add_row(_words(name), *(f"{each:.4f}" for each in (mean, deviation, ensemble[name])))
    return table


def _words(name: str) -> str:
    return name.removeprefix("test_").removeprefix("val_").replace("_", " ")


def class_table(scores: Sequence[ClassScores], things: str = "sequences") -> Table:
    """Return precision and recall of each class; of many classes, of those that are found least."""
    shown_first = list(scores)
    title = "class"
    if len(shown_first) > _CLASS_ROWS:
        found_least = sorted(shown_first, key=lambda each: (each.recall is None, each.recall or 0))
        shown_first = found_least[:_CLASS_ROWS]
        title = f"class ({_CLASS_ROWS} of {len(scores)}, lowest recall first)"
    table = Table(title, "precision", "recall", things, box=None, pad_edge=False)
    for each in shown_first:
        numbers = ("none" if x is None else fitted(x) for x in (each.precision, each.recall))
        table.add_row(shown(each.name), *numbers, f"{each.count:,}")
    return table


def confusion_table(confusion: Confusion, class_names: Sequence[str]) -> Table:
    """Return a confusion matrix (true class, predicted class) as a table."""
    names = [shown(name) for name in class_names]
    table = Table("true ↓  predicted →", *names, box=None, pad_edge=False)
    for name, row in zip(names, confusion, strict=True):
        table.add_row(name, *map(str, row))
    return table


def file_list(directory: Path) -> Text:
    """Return the files of a run directory with their sizes, a line each."""
    found = (path for path in directory.rglob("*") if path.is_file())
    lines = [f"files in {one_line(directory)}"]
    for path in sorted(path for path in found if not path.name.startswith(".")):
        name = one_line(path.relative_to(directory))
        lines.append(f"  {name}  ({path.stat().st_size:,} bytes)")
    return Text("\n".join(lines))
