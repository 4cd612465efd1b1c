"""Values of a part as numbers to read, and answers over what is true as a chart."""

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Sequences
from grulight.trace.charts import Chart, finite_range, marks, rightwards, ticks, upwards
from grulight.trace.label_counts import labels_of

_MOST_POINTS = 800


def scatter(name: str, targets: NDArray[np.floating], predicted: NDArray[np.floating]) -> Chart:
    """Draw predictions (M,) of a value over what is true (M,)."""
    every = np.linspace(0, len(targets) - 1, min(len(targets), _MOST_POINTS))
    some = np.unique(every.round().astype(int))
    true, ours = targets[some].tolist(), predicted[some].tolist()
    levels = ticks(*finite_range([*true, *ours]))
    across, up = rightwards(levels[0], levels[-1]), upwards(levels[0], levels[-1])
    few = "" if len(some) == len(targets) else f", {len(some):,} of the answers"
    return Chart(
        f"{name[0].upper()}{name[1:]}: predicted and true{few}",
        f"Scatter chart: true values go from {min(true):.3g} to {max(true):.3g}, predicted "
        f"ones from {min(ours):.3g} to {max(ours):.3g}; mean absolute error "
        f"{np.abs(predicted - targets).mean():.3g}.",
        "predicted value",
        "true value",
        marks(up, levels),
        marks(across, levels),
        points=" ".join(f"M{across(x)} {up(y)}h0" for x, y in zip(true, ours, strict=True)),
    )


def described(part: Sequences) -> list[tuple[str, str]]:
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
