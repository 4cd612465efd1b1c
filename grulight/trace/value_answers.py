"""Answers that are numbers."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Labels
from grulight.data.splitting import Parts
from grulight.trace.answers import Answers, Floats
from grulight.trace.commentary import listing
from grulight.trace.label_counts import nonempty_parts
from grulight.trace.templates import Context
from grulight.trace.value_pictures import described, scatter

_MOST_CHARTS = 4


class ValueAnswers(Answers):
    """Values, more or less close to the true ones."""

    kind = "values"
    metric = "mae"
    metric_words = ("Mean absolute error", "mean absolute error")

    @cached_property
    def off(self) -> NDArray[np.float64]:
        """(M, C) errors."""
        return np.asarray(self.predicted.astype(np.float64) - self.targets)

    @cached_property
    def scale(self) -> Floats:
        """(C,) standard deviations of the true values, 1 where there is none."""
        found = self.targets.std(axis=0, dtype=np.float64)
        return np.asarray(np.where(found > 0, found, 1), np.float32)

    @property
    def deviations(self) -> list[float]:
        """The same for the script."""
        return [float(each) for each in self.scale]

    def _in_words(self, off: NDArray[np.floating]) -> str:
        """Say how large errors (A, C) are: several values may have units of their own."""
        if len(self.names) == 1:
            return f"{np.abs(off).mean():.3g} off"
        return f"{np.abs(off / self.scale).mean():.3g} deviations off"

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
        units = "" if len(self.names) == 1 else " (each value in standard deviations of its own)"
        return f"the answers for {self.counted} are {self._in_words(self.off)} on average{units}"

    @property
    def without(self) -> str:
        """Say how far off the mean would be."""
        return f"always answering with the mean would be {self._in_words(self._around)}"

    @cached_property
    def _around(self) -> NDArray[np.float64]:
        return np.asarray(self.targets - self.targets.mean(axis=0, dtype=np.float64))

    @property
    def gains(self) -> NDArray[np.floating]:
        """(M,) by how much closer than the mean it is, in deviations of its value."""
        return np.asarray(np.abs(self._around / self.scale).mean(axis=1) + self.closeness)

    @property
    def closeness(self) -> NDArray[np.floating]:
        """(M,) mean absolute errors, each in deviations of its value."""
        return np.asarray(-np.abs(self.off / self.scale).mean(axis=1))

    @property
    def question(self) -> str:
        """Ask how close."""
        return "How close does the answer to {} come?"

    @property
    def represents(self) -> str:
        """Explain values."""
        what = "units of the labels"
        if len(self.names) == 1:
            low, high = self.targets.min(), self.targets.max()
            what = f"unit of the labels, which go from {low:.3g} to {high:.3g} here"
        return (
            f"Values in the {what}. They are no probabilities and say nothing of how sure the "
            "model is."
        )

    @property
    def doubt(self) -> tuple[str, str]:
        """Ask for the worst error."""
        each = np.abs(self.off)
        question = "How far off is the worst answer?"
        if len(self.names) == 1:
            return (
                question,
                f"By {each.max():.3g}; half of them are off by at most {np.median(each):.3g}.",
            )
        relative = each / self.scale
        row, n = np.unravel_index(relative.argmax(), relative.shape)
        return (
            question,
            f"By {each[row, n]:.3g} for {self.names[n]}, {relative[row, n]:.3g} of its standard "
            f"deviations; half of all values are off by at most {np.median(relative):.3g}.",
        )

    def balance(self, parts: Parts) -> Context:
        """Describe the values in each part."""
        held = nonempty_parts(parts)
        columns = [described(part) for _, part in held]
        return {
            "title": "Values of the labels",
            "parts": [(name, len(part)) for name, part in held],
            "rows": list(zip(self.names, zip(*columns, strict=True), strict=True)),
        }

    def evaluation(self) -> Context:
        """Return errors of each value, and charts of the first few."""
        around = self._around
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
        charts = [
            scatter(name, self.truth(self.targets)[:, n], self.predicted[:, n])
            for n, name in enumerate(self.names[:_MOST_CHARTS])
        ]
        return {"scores": rows, "charts": charts}

    def truth(self, targets: Labels) -> Floats:
        """Return them as they are."""
        return np.asarray(targets, np.float32)

    def short(self, answers: Floats, truth: Floats) -> str:
        """Say how far off it is."""
        if not self.per_step:
            answers = answers[-1:]
        return self._in_words(answers - truth)

    def tells(self, answers: Floats, truth: Floats, steps: NDArray[np.int64]) -> str:
        """Say how far off it is, and where most."""
        if not self.per_step:
            answers = answers[-1:]
        off = np.abs(answers - truth)
        row, n = np.unravel_index((off / self.scale).argmax(), off.shape)
        worst = f"{answers[row, n]:.4g} where the truth is {truth[row, n]:.4g}"
        if off.size == 1:
            return f"It answers {worst}: {off[row, n]:.3g} off."
        where = f" at step {steps[row] + 1}" if self.per_step else ""
        what = f" for {self.names[n]}" if len(self.names) > 1 else ""
        return f"It is {self._in_words(off)} on average, most{what}{where}: {worst}."
