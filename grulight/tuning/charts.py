"""Charts of a study's page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

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

_SHADES = 4  # of the lines of parallel coordinates: quarters of the trials, the best on top


@dataclass(frozen=True)
class Axis:
    """Where the values of a setting stand between 0 and 1.

    Attributes:
        name: The setting.
        space: What may be tried for it.
    """

    name: str
    space: BaseDistribution

    def __call__(self, value: object) -> float:
        """Return where a value stands; on a logarithmic scale where it is searched on one."""
        space = self.space
        if isinstance(space, (IntDistribution, FloatDistribution)):
            assert isinstance(value, (int, float))
            low, high, at = (self._scaled(each) for each in (space.low, space.high, value))
            return (at - low) / ((high - low) or 1.0)
        choices = list(getattr(space, "choices", ()))
        return choices.index(value) / max(len(choices) - 1, 1)

    def _scaled(self, value: float) -> float:
        return math.log(value) if getattr(self.space, "log", False) else value

    @property
    def marked(self) -> list[tuple[float, str]]:
        """Where marks stand, and their texts: borders and middle, or every choice (up to 8)."""
        space = self.space
        if isinstance(space, (IntDistribution, FloatDistribution)):
            low, high = space.low, space.high
            middle = math.sqrt(low * high) if space.log else (low + high) / 2
            values = dict.fromkeys((low, round(middle) if isinstance(low, int) else middle, high))
            return [(self(value), f"{value:.3g}") for value in values]
        choices = list(getattr(space, "choices", ()))
        kept = choices if len(choices) <= 8 else [choices[0], choices[-1]]
        return [(self(each), str(each)[:12]) for each in kept]


def history_chart(objective: str, values: Sequence[float], best: Sequence[float]) -> Chart:
    """Draw the objective of every trial, and the best so far (both (trials,), nan for none)."""
    low, high = _typical_range(values)
    levels = ticks(low, high)
    up, across = upwards(levels[0], levels[-1]), rightwards(1, max(len(values), 2))
    numbers = range(1, len(values) + 1)
    return Chart(
        "The best so far",
        f"Line chart: the best {objective} is {best[-1]:.4g} after {len(values)} trials.",
        objective,
        "trial",
        marks(up, levels),
        marks(across, sorted({1, len(values)})),
        (line(across, up, numbers, best),),
        points=_small_dots(across, up, numbers, values, low, high),
    )


def setting_chart(
    axis: Axis, objective: str, settings: Sequence[object], values: Sequence[float]
) -> Chart:
    """Draw the objective of every trial over one setting."""
    low, high = _typical_range(values)
    levels = ticks(low, high)
    up, across = upwards(levels[0], levels[-1]), rightwards(0, 1)
    places = [axis(each) for each in settings]
    return Chart(
        f"{objective} by {axis.name}",
        f"Dot chart of {len(values)} trials.",
        objective,
        axis.name,
        marks(up, levels),
        tuple((across(at), text) for at, text in axis.marked),
        points=_small_dots(across, up, places, values, low, high),
    )


def fold_chart(objective: str, trials: Sequence[tuple[str, Sequence[float]]]) -> Chart:
    """Draw the objective in each fold, a column for each of a few trials."""
    every = [value for _, values in trials for value in values]
    levels = ticks(*finite_range(every))
    up, across = upwards(levels[0], levels[-1]), rightwards(-0.5, len(trials) - 0.5)
    dots: tuple[tuple[Place, ...], ...] = (
        tuple((across(n), up(v)) for n, (_, values) in enumerate(trials) for v in values),
    )
    return Chart(
        "The folds' spread",
        f"Dot chart: {objective} in each fold of the {len(trials)} best trials.",
        objective,
        "trial, the best first",
        marks(up, levels),
        tuple((across(n), name) for n, (name, _) in enumerate(trials)),
        dots=dots,
    )


@dataclass(frozen=True)
class Parallel:
    """Parallel coordinates: an axis for each setting, a line for each trial.

    Attributes:
        axes: Place, name and marks (place, text) of each axis.
        lines: Points and shade of each trial's line, the best last: they lie on top. 0 is best.
    """

    WIDTH: ClassVar = 960
    HEIGHT: ClassVar = 320
    TOP: ClassVar = 40
    BOTTOM: ClassVar = 290

    axes: tuple[tuple[float, str, tuple[tuple[float, str], ...]], ...]
    lines: tuple[tuple[str, int], ...]


def parallel(
    axes: Sequence[Axis],
    objective: str,
    settings: Sequence[Sequence[object]],
    values: Sequence[float],
    *,
    maximizes: bool,
) -> Parallel:
    """Return parallel coordinates of trials; the last axis is the objective."""
    low, high = _typical_range(values)
    up = Scale(0, 1, Parallel.BOTTOM, Parallel.TOP)
    last = Scale(low, high, Parallel.BOTTOM, Parallel.TOP)
    across = Scale(0, len(axes), 60, Parallel.WIDTH - 60)
    drawn = [
        (across(n), axis.name, tuple((up(at), text) for at, text in axis.marked))
        for n, axis in enumerate(axes)
    ]
    ends = tuple((last(value), f"{value:.4g}") for value in (low, high))
    drawn.append((across(len(axes)), objective, ends))
    order = sorted(range(len(values)), key=lambda n: values[n], reverse=maximizes)
    lines = []
    for rank, n in enumerate(order):
        clipped = min(max(values[n], low), high)
        heights = [up(axis(v)) for axis, v in zip(axes, settings[n], strict=True)]
        points = zip(range(len(axes) + 1), [*heights, last(clipped)], strict=True)
        text = " ".join(f"{across(at)},{height}" for at, height in points)
        lines.append((text, rank * _SHADES // len(order)))
    return Parallel(tuple(drawn), tuple(reversed(lines)))


def _typical_range(values: Sequence[float]) -> tuple[float, float]:
    """Return a range that a few trials which went wrong do not stretch."""
    finite = sorted(value for value in values if math.isfinite(value)) or [0.0]
    quarter = len(finite) // 4
    spread = finite[-1 - quarter] - finite[quarter]
    kept = [v for v in finite if abs(v - finite[len(finite) // 2]) <= 4 * spread] or finite
    return finite_range(kept)


def _small_dots(
    across: Scale,
    up: Scale,
    xs: Sequence[float] | range,
    ys: Sequence[float],
    low: float,
    high: float,
) -> str:
    both = zip(xs, ys, strict=True)
    return "".join(
        f"M{across(x)} {up(min(max(y, low), high))}h0" for x, y in both if math.isfinite(y)
    )
