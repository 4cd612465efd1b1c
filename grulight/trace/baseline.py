"""What one reaches without reading a sequence: what a model's numbers are to be held against."""

from typing import NamedTuple

import numpy as np

from grulight.data.sequences import Sequences
from grulight.heads import Head, LabelHead
from grulight.trace.label_counts import labels_of


class Baseline(NamedTuple):
    """The metric of who always answers the same.

    Attributes:
        metric: Which one, as it is logged.
        score: It.
        words: What is said of who is no better.
    """

    metric: str
    score: float
    words: str

    def as_good_as(self, metrics: dict[str, float]) -> bool:
        """Return whether it is no worse than what a training epoch reached."""
        reached = metrics[f"train_{self.metric}"]
        return reached <= self.score if self.metric == "accuracy" else reached >= self.score


def baseline_of(train: Sequences, head: Head) -> Baseline | None:
    """Return what one reaches in the training part without reading it; None where that is empty."""
    total = sum(map(len, labels_of(train)))
    if not total:
        return None
    if head.num_classes:
        counts = sum(np.bincount(each, minlength=head.num_classes) for each in labels_of(train))
        share = float(np.max(counts) / total)
        return Baseline(head.metric, share, "no better than naming the most frequent class")
    mean = sum(each.sum(axis=0, dtype=np.float64) for each in labels_of(train)) / total
    if isinstance(head, LabelHead):
        share = float(np.maximum(mean, 1 - mean).mean())
        words = "no better than saying of each label what is most frequent"
        return Baseline(head.metric, share, words)
    off = sum(float(np.abs(each - mean).sum()) for each in labels_of(train))
    return Baseline(head.metric, off / (total * head.size), "mae no better than that of the mean")
