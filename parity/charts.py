"""Charts of the report page: places in the units of an SVG's view box, and words for each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 88, 628, 12, 186  # edges of the plot inside the view box

Mark = tuple[float, str]


@dataclass(frozen=True)
class Chart:
    """Lines and dots over two named axes.

    Attributes:
        title: What is shown.
        says: The same for those who cannot see it.
        down: What runs upwards.
        along: What runs to the right.
        rows: Places and texts of the marks on the left.
        columns: Places and texts of the marks below.
        lines: Points of each line, as SVG writes them.
        dots: Places of each line's dots.
    """

    title: str
    says: str
    down: str
    along: str
    rows: tuple[Mark, ...]
    columns: tuple[Mark, ...]
    lines: tuple[str, ...] = ()
    dots: tuple[tuple[tuple[float, float], ...], ...] = ()


def curve_chart(dtype: str, ours: Sequence[float], theirs: Sequence[float]) -> Chart:
    """Draw both losses over each other."""
    low, high = _range([*ours, *theirs])
    middle = (low + high) / 2
    ends = [f"from {v[0]:.3g} to {v[-1]:.3g}" for v in (ours, theirs)]
    return Chart(
        f"Loss of every batch, {dtype}",
        f"Line chart: our loss goes {ends[0]}, theirs {ends[1]}, in {len(ours)} batches.",
        "loss",
        "batch",
        tuple((_height(v, low, high), f"{v:.3g}") for v in (low, middle, high)),
        _columns(len(ours)),
        tuple(_line(values, low, high) for values in (ours, theirs)),
    )


def profile_chart(label: str, steps: Sequence[float]) -> Chart:
    """Draw the difference of each time step on a logarithmic scale."""
    logs = np.log10(np.maximum(np.nan_to_num(steps, posinf=1e3), 1e-18)).tolist()
    low, high = int(np.floor(min(logs))), int(np.ceil(max(logs)))
    high += low == high
    every = -(-(high - low) // 4)
    return Chart(
        label,
        f"Line chart: the largest relative difference of a time step is {max(steps):.1e}.",
        "relative difference",
        "time step",
        tuple((_height(n, low, high), f"1e{n}") for n in range(low, high + 1, every)),
        _columns(len(steps)),
        (_line(logs, low, high),),
    )


def sample_chart(quantity: str, ours: Sequence[float], theirs: Sequence[float]) -> Chart:
    """Draw one dot per seed, ours on the left, theirs on the right."""
    low, high = _range([*ours, *theirs])
    centres = (LEFT + (RIGHT - LEFT) * 0.3, LEFT + (RIGHT - LEFT) * 0.7)
    dots = tuple(
        tuple((round(c + 20 * (n % 5 - 2), 1), _height(v, low, high)) for n, v in enumerate(values))
        for c, values in zip(centres, (ours, theirs), strict=True)
    )
    return Chart(
        f"Test {quantity} after training, one dot per seed",
        f"Dot chart: our mean is {np.mean(ours):.3g}, theirs {np.mean(theirs):.3g}.",
        quantity,
        "",
        tuple((_height(v, low, high), f"{v:.3g}") for v in (low, (low + high) / 2, high)),
        ((centres[0], "ours"), (centres[1], "theirs")),
        (),
        dots,
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if np.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _height(value: float, low: float, high: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)


def _across(n: float, count: int) -> float:
    return round(LEFT + (RIGHT - LEFT) * n / max(count - 1, 1), 1)


def _columns(count: int) -> tuple[Mark, ...]:
    """Mark first, middle and last, counted from 0 as the tables count."""
    places = sorted({0, (count - 1) // 2, count - 1})
    return tuple((_across(n, count), str(n)) for n in places)


def _line(values: Sequence[float], low: float, high: float) -> str:
    points = ((_across(n, len(values)), v) for n, v in enumerate(values) if np.isfinite(v))
    return " ".join(f"{x},{_height(v, low, high)}" for x, v in points)
