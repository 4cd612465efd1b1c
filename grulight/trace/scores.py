"""Scores of single classes, and whether confidence can be believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.trace.charts import Chart, marks, rightwards, ticks, upwards
from grulight.training.confusion import Confusion

BINS = 10


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class; None where there is nothing to divide by."""

    name: str
    precision: float | None
    recall: float | None
    count: int


@dataclass(frozen=True)
class Bin:
    """Answers with a similar confidence."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def class_scores(confusion: Confusion, class_names: tuple[str, ...]) -> list[ClassScores]:
    """Return precision (of those called so, how many are) and recall (of those, how many found)."""
    hits, true, called = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return [
        ClassScores(name, share(hits[c], called[c]), share(hits[c], true[c]), int(true[c]))
        for c, name in enumerate(class_names)
    ]


def share(part: int, whole: int) -> float | None:
    """Return a share; None where there is nothing to divide by."""
    return float(part / whole) if whole else None


def reliability(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> list[Bin]:
    """Gather answers (N,) into ten bins of equal width by confidence; empty ones are left out."""
    which = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return [
        Bin(
            b / BINS,
            (b + 1) / BINS,
            int((which == b).sum()),
            float(confidence[which == b].mean()),
            float(right[which == b].mean()),
        )
        for b in np.unique(which).tolist()
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: Σ n_b/N · |accuracy_b - confidence_b|.

    Guo et al. 2017 (arXiv 1706.04599, eq. 3), with ten bins of equal width.
    """
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / total


def belief(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what the template says of whether confidence (N,) can be believed."""
    bins = reliability(confidence, right)
    return {
        "bins": bins,
        "calibration": calibration_error(bins),
        "reliability": reliability_chart(bins),
    }


def reliability_chart(bins: Sequence[Bin]) -> Chart:
    """Draw how often answers of each confidence are right."""
    across, up = rightwards(0.0, 1.0), upwards(0.0, 1.0)
    levels = ticks(0.0, 1.0)
    bars = tuple(
        (
            across(each.low) + 1,
            up(each.accuracy),
            round(across(each.high) - across(each.low) - 2, 1),
            round(up(0.0) - up(each.accuracy), 1),
        )
        for each in bins
    )
    says = "; ".join(
        f"of {each.count} answers given {each.confidence:.0%} on average, {each.accuracy:.0%} right"
        for each in bins
    )
    return Chart(
        "Reliability",
        f"Bar chart: {says}.",
        "share that is right",
        "confidence of the answer (probability)",
        marks(up, levels),
        marks(across, levels),
        dots=(tuple((across(each.confidence), up(each.accuracy)) for each in bins),),
        bars=bars,
    )
