"""Answers that are numbers."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Labels, Sequences
from grulight.data.splitting import Parts
from grulight.trace.answers import Answers, Floats
from grulight.trace.charts import Chart, finite_range, marks, rightwards, ticks, upwards
from grulight.trace.commentary import listing
from grulight.trace.label_counts import labels_of, nonempty_parts
from grulight.trace.templates import Context

_MOST_CHARTS, _MOST_POINTS = 4, 800


class ValueAnswers(Answers):
    """Values, more or less close to the true ones."""

    kind = "values"
    metric = "mae"
    metric_words = ("Mean absolute error", "mean absolute error")

    @cached_property
    def off(self) -> Floats:
        """(M, C) errors."""
        return np.asarray(self.predicted - self.targets)

    @property
    def does(self) -> str:
        """Name or count the values."""
        what = "a value" if self.names == ("value",) else listing(self.names, "values")
        return f"predicts {what}{self.at_every_step}"

    @property
    def score(self) -> float:
        """Mean absolute error."""
        return float(np.abs(self.off).mean())

    @property
    def result(self) -> str:
        """Say how far off the answers are."""
        return f"the answers for {self.counted} are {self.score:.3g} off on average"

    @property
    def without(self) -> str:
        """Say how far off the mean would be."""
        return f"always answering with the mean would be {self._of_mean:.3g} off"

    @property
    def _of_mean(self) -> float:
        return float(np.abs(self.targets - self.targets.mean(axis=0)).mean())

    @property
    def idle(self) -> bool:
        """Whether the mean would be as close."""
        return self.score >= self._of_mean

    @property
    def closeness(self) -> NDArray[np.floating]:
        """(M,) mean absolute errors, each in deviations of its value."""
        scale = self.targets.std(axis=0)
        return np.asarray(-(np.abs(self.off) / np.where(scale > 0, scale, 1)).mean(axis=1))

    @property
    def question(self) -> str:
        """Ask how close."""
        return "How close does the answer to {} come?"

    @property
    def represents(self) -> str:
        """Explain values."""
        low, high = self.targets.min(), self.targets.max()
        return (
            f"Values in the unit of the labels, which go from {low:.3g} to {high:.3g} here. They "
            "are no probabilities and say nothing of how sure the model is."
        )

    @property
    def doubt(self) -> tuple[str, str]:
        """Ask for the worst error."""
        each = np.abs(self.off)
        return (
            "How far off is the worst answer?",
            f"By {each.max():.3g}; half of them are off by at most {np.median(each):.3g}.",
        )

    def balance(self, parts: Parts) -> Context:
        """Describe the values in each part."""
        held = nonempty_parts(parts)
        columns = [_described(part) for _, part in held]
        return {
            "title": "Values of the labels",
            "parts": [(name, len(part)) for name, part in held],
            "rows": list(zip(self.names, zip(*columns, strict=True), strict=True)),
        }

    def evaluation(self) -> Context:
        """Return errors of each value, and charts of the first few."""
        around = self.targets - self.targets.mean(axis=0)
        spread = (around**2).sum(axis=0)
        rows = [
            (
                name,
                float(np.abs(self.off[:, n]).mean()),
                float(np.sqrt((self.off[:, n] ** 2).mean())),
                float(1 - (self.off[:, n] ** 2).sum() / spread[n]) if spread[n] > 0 else None,
                float(np.abs(around[:, n]).mean()),
            )
            for n, name in enumerate(self.names)
        ]
        charts = [self._scatter(n) for n in range(min(len(self.names), _MOST_CHARTS))]
        return {"scores": rows, "charts": charts}

    def _scatter(self, n: int) -> Chart:
        """Draw predicted over true values."""
        every = np.linspace(0, len(self.targets) - 1, min(len(self.targets), _MOST_POINTS))
        some = np.unique(every.round().astype(int))
        true, ours = self.targets[some, n].tolist(), self.predicted[some, n].tolist()
        levels = ticks(*finite_range([*true, *ours]))
        across, up = rightwards(levels[0], levels[-1]), upwards(levels[0], levels[-1])
        few = "" if len(some) == len(self.targets) else f", {len(some):,} of the answers"
        name = self.names[n][0].upper() + self.names[n][1:]
        return Chart(
            f"{name}: predicted and true{few}",
            f"Scatter chart: true values go from {min(true):.3g} to {max(true):.3g}, predicted "
            f"ones from {min(ours):.3g} to {max(ours):.3g}; mean absolute error "
            f"{np.abs(self.off[:, n]).mean():.3g}.",
            "predicted value",
            "true value",
            marks(up, levels),
            marks(across, levels),
            points=" ".join(f"M{across(x)} {up(y)}h0" for x, y in zip(true, ours, strict=True)),
        )

    def truth(self, targets: Labels) -> Floats:
        """Return them as they are."""
        return np.asarray(targets, np.float32)

    def short(self, answers: Floats, truth: Floats) -> str:
        """Say how far off it is."""
        if not self.per_step:
            answers = answers[-1:]
        return f"{np.abs(answers - truth).mean():.3g} off"

    def tells(self, answers: Floats, truth: Floats, steps: NDArray[np.int64]) -> str:
        """Say how far off it is, and where most."""
        if not self.per_step:
            answers = answers[-1:]
        off = np.abs(answers - truth)
        row, n = np.unravel_index(off.argmax(), off.shape)
        worst = f"{answers[row, n]:.4g} where the truth is {truth[row, n]:.4g}"
        if off.size == 1:
            return f"It answers {worst}: {off[row, n]:.3g} off."
        where = f" at step {steps[row] + 1}" if self.per_step else ""
        what = f" for {self.names[n]}" if len(self.names) > 1 else ""
        return f"It is {off.mean():.3g} off on average, most{what}{where}: {worst}."


def _described(part: Sequences) -> list[tuple[str, str]]:
    """Return mean and range of each value."""
    some = [
        (len(each), each.sum(axis=0, dtype=np.float64), each.min(axis=0), each.max(axis=0))
        for each in labels_of(part)
        if len(each)
    ]
    counts, sums, lows, highs = (np.array(column) for column in zip(*some, strict=True))
    means = sums.sum(axis=0) / counts.sum()
    return [
        (f"{mean:.3g}", f"{low:.3g} to {high:.3g}")
        for mean, low, high in zip(means, lows.min(axis=0), highs.max(axis=0), strict=True)
    ]
