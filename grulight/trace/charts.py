"""Charts of the pages: places in the units of an SVG's view box, and words for each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

Mark = tuple[float, str]
Place = tuple[float, float]


class Scale(NamedTuple):
    """A straight line from numbers to places."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Return where a number stands."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + (self.stop - self.start) * share, 1)


@dataclass(frozen=True)
class Chart:
    """Lines, dots and bars over two named axes.

    Attributes:
        title: What is shown.
        says: The same for those who cannot see it.
        down: What runs upwards.
        along: What runs to the right.
        rows: Places and texts of the marks on the left.
        columns: Places and texts of the marks below.
        lines: Points of each line, as SVG writes them.
        dots: Places of each line's dots.
        bars: Left, top, width and height of each bar.
        points: Many small points, as a path of SVG.
        names: What each line or its dots are; empty where the text says so.
    """

    WIDTH: ClassVar = 520
    HEIGHT: ClassVar = 270
    LEFT: ClassVar = 84
    RIGHT: ClassVar = 508
    TOP: ClassVar = 12
    BOTTOM: ClassVar = 214

    title: str
    says: str
    down: str
    along: str
    rows: tuple[Mark, ...]
    columns: tuple[Mark, ...]
    lines: tuple[str, ...] = ()
    dots: tuple[tuple[Place, ...], ...] = ()
    bars: tuple[tuple[float, float, float, float], ...] = ()
    points: str = ""
    names: tuple[str, ...] = ()


def upwards(low: float, high: float) -> Scale:
    """Return the scale of a chart's left side."""
    return Scale(low, high, Chart.BOTTOM, Chart.TOP)


def rightwards(low: float, high: float) -> Scale:
    """Return the scale of a chart's lower side."""
    return Scale(low, high, Chart.LEFT, Chart.RIGHT)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers that cover ``low`` to ``high``, at most ``most`` where they fit."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    rough = span / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (1, 2, 2.5, 5, 10) if step * power >= rough * (1 - 1e-9)) * power
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * n for n in range(first, last + 1)]


def marks(scale: Scale, values: Sequence[float]) -> tuple[Mark, ...]:
    """Return a mark at each number."""
    return tuple((scale(value), f"{value:.4g}") for value in values)


def line(across: Scale, up: Scale, xs: Sequence[float], ys: Sequence[float]) -> str:
    """Return a line's points as SVG writes them; numbers that are not finite are left out."""
    both = zip(xs, ys, strict=True)
    return " ".join(f"{across(x)},{up(y)}" for x, y in both if math.isfinite(y))


def finite_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the smallest and the largest finite number, apart even where they are equal."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
