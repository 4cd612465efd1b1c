"""Charts of the proof's page."""

from collections.abc import Sequence

import numpy as np

from grulight.trace.charts import Chart, finite_range, line, marks, rightwards, ticks, upwards


def curve_chart(dtype: str, ours: Sequence[float], theirs: Sequence[float]) -> Chart:
    """Draw both losses over each other."""
    levels = ticks(*finite_range([*ours, *theirs]))
    up, across = upwards(levels[0], levels[-1]), rightwards(0, max(len(ours) - 1, 1))
    ends = [f"from {v[0]:.3g} to {v[-1]:.3g}" for v in (ours, theirs)]
    return Chart(
        f"Loss of every batch, {dtype}",
        f"Line chart: our loss goes {ends[0]}, theirs {ends[1]}, in {len(ours)} batches.",
        "loss",
        "batch",
        marks(up, levels),
        marks(across, _ends(len(ours))),
        tuple(line(across, up, range(len(values)), values) for values in (ours, theirs)),
    )


def profile_chart(label: str, steps: Sequence[float]) -> Chart:
    """Draw the difference of each time step on a logarithmic scale."""
    logs = np.log10(np.maximum(np.nan_to_num(steps, posinf=1e3), 1e-18)).tolist()
    low, high = int(np.floor(min(logs))), int(np.ceil(max(logs)))
    high += low == high
    up, across = upwards(low, high), rightwards(0, max(len(steps) - 1, 1))
    every = -(-(high - low) // 4)
    return Chart(
        label,
        f"Line chart: the largest relative difference of a time step is {max(steps):.1e}.",
        "relative difference",
        "time step",
        tuple((up(n), f"1e{n}") for n in range(low, high + 1, every)),
        marks(across, _ends(len(steps))),
        (line(across, up, range(len(logs)), logs),),
    )


def sample_chart(quantity: str, ours: Sequence[float], theirs: Sequence[float]) -> Chart:
    """Draw one dot per seed, ours on the left, theirs on the right."""
    levels = ticks(*finite_range([*ours, *theirs]))
    up, across = upwards(levels[0], levels[-1]), rightwards(0, 1)
    centres = (across(0.3), across(0.7))
    dots = tuple(
        tuple((round(c + 20 * (n % 5 - 2), 1), up(v)) for n, v in enumerate(values))
        for c, values in zip(centres, (ours, theirs), strict=True)
    )
    return Chart(
        f"Test {quantity} after training, one dot per seed",
        f"Dot chart: our mean is {np.mean(ours):.3g}, theirs {np.mean(theirs):.3g}.",
        quantity,
        "",
        marks(up, levels),
        ((centres[0], "ours"), (centres[1], "theirs")),
        dots=dots,
    )


def _ends(count: int) -> list[int]:
    """Return first, middle and last, counted from 0 as the tables count."""
    return sorted({0, (count - 1) // 2, count - 1})
