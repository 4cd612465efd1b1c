"""The training as a table and as curves, and beside the built-in data the original's numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grulight.trace.answers import Answers
from grulight.trace.charts import (
    Chart,
    Place,
    Scale,
    finite_range,
    line,
    marks,
    rightwards,
    ticks,
    upwards,
)
from grulight.trace.numbers import fitted
from grulight.trace.recorder import Epoch

# loss and accuracy of the original pipeline's five epochs, on data like the built-in `waves`
ORIGINAL = ((1.20, 0.45), (0.85, 0.62), (0.65, 0.75), (0.50, 0.82), (0.40, 0.87))
MOST_EPOCHS = 300


@dataclass(frozen=True)
class Curve:
    """A chart whose lines can be stepped through.

    Attributes:
        chart: The chart.
        at: Place of each epoch across.
        values: Per epoch the heights of each line, None where a line has no number.
    """

    chart: Chart
    at: list[float]
    values: list[list[float | None]]


def shown_epochs(epochs: Sequence[Epoch]) -> list[Epoch]:
    """Return the epochs, a long training thinned out evenly."""
    if len(epochs) <= MOST_EPOCHS:
        return list(epochs)
    return [epochs[n] for n in np.linspace(0, len(epochs) - 1, MOST_EPOCHS).round().astype(int)]


def original(epoch: Epoch, source: str) -> tuple[float, float] | None:
    """Return the original's loss and accuracy of an epoch, where the data is the built-in one."""
    return ORIGINAL[epoch.number - 1] if source == "waves" and epoch.number <= 5 else None


def curves(epochs: Sequence[Epoch], answers: Answers) -> list[Curve]:
    """Draw loss and metric, and the learning rate where it moves."""
    if not epochs:
        return []
    found = [
        _curve(epochs, answers, "loss", ("Loss", answers.loss_words), answers.loss),
        _curve(epochs, answers, answers.metric, answers.metric_words, answers.score),
    ]
    rates = [epoch.learning_rate for epoch in epochs]
    known = [rate for rate in rates if rate is not None]
    if len(known) == len(rates) and len(set(known)) > 1:
        found.append(_draw(epochs, "Learning rate", "learning rate", ["learning rate"], [known]))
    return found


def _curve(
    epochs: Sequence[Epoch],
    answers: Answers,
    metric: str,
    called: tuple[str, str],
    measured: float,
) -> Curve:
    names, lines = [], []
    for stage, name in (("train", "training"), ("val", "validation")):
        values = [epoch.metrics.get(f"{stage}_{metric}", math.nan) for epoch in epochs]
        if stage == "train" or not all(map(math.isnan, values)):
            names.append(name)
            lines.append(values)
    last = (answers.name, measured) if answers.name == "test" else None
    return _draw(epochs, *called, names, lines, last)


def _draw(
    epochs: Sequence[Epoch],
    title: str,
    down: str,
    names: list[str],
    lines: list[list[float]],
    last: tuple[str, float] | None = None,
) -> Curve:
    numbers = [epoch.number for epoch in epochs]
    low, high = finite_range([*np.concatenate(lines), *([last[1]] if last else [])])
    levels = ticks(0.0, 1.0) if title == "Accuracy" else ticks(min(0.0, low), high)
    up = upwards(levels[0], levels[-1])
    across = rightwards(numbers[0], numbers[-1] if len(numbers) > 1 else numbers[0] + 1)
    says = [
        f"{name} goes from {values[0]:.4g} to {values[-1]:.4g}"
        for name, values in zip(names, lines, strict=True)
    ]
    dots: list[tuple[Place, ...]] = [
        tuple((across(n), up(v)) for n, v in zip(numbers, values, strict=True) if math.isfinite(v))
        if len(numbers) <= 30
        else ()
        for values in lines
    ]
    if last and math.isfinite(last[1]):
        dots += [()] * (2 - len(dots)) + [((across(numbers[-1]), up(last[1])),)]
        says.append(f"{last[0]}, measured once with the weights shown here, is {last[1]:.4g}")
    chart = Chart(
        title,
        f"Line chart over {len(epochs)} epochs: {'; '.join(says)}.",
        down,
        "epoch",
        marks(up, levels),
        marks(across, _epoch_ticks(numbers)),
        tuple(line(across, up, numbers, values) for values in lines),
        tuple(dots),
        names=tuple(names + [""] * (2 - len(names)) + ([last[0]] if last else [])),
    )
    heights = [[_height(up, values[n]) for values in lines] for n in range(len(numbers))]
    return Curve(chart, [across(n) for n in numbers], heights)


def _height(up: Scale, value: float) -> float | None:
    return up(value) if math.isfinite(value) else None


def _epoch_ticks(numbers: Sequence[int]) -> list[int]:
    if len(numbers) <= 8:
        return list(numbers)
    inner = [int(tick) for tick in ticks(numbers[0], numbers[-1]) if tick == int(tick)]
    return sorted({n for n in inner if numbers[0] <= n <= numbers[-1]} | {numbers[0]})


def epoch_words(epoch: Epoch, metric: str) -> str:
    """Return an epoch's numbers as a sentence."""
    metrics = epoch.metrics
    shown = {name: fitted(value) for name, value in metrics.items()}
    text = f"loss {shown['train_loss']}, {metric} {shown[f'train_{metric}']}"
    if "val_loss" in metrics:
        text += f"; validation {shown['val_loss']}, {shown[f'val_{metric}']}"
    return f"Epoch {epoch.number}: {text}"
