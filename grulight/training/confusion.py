"""Scores from a confusion matrix."""

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]


def scores_of(confusion: Confusion) -> dict[str, float]:
    """Return balanced accuracy and macro F1 of a confusion matrix (true class, predicted class).

    As scikit-learn defines them: ``balanced_accuracy_score`` averages the recall over the classes
    that occur; ``f1_score(average="macro")`` averages F1 = 2·hits / (true + predicted) over the
    classes that occur or are predicted.
    """
    hits, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    occurs, mentioned = true > 0, true + predicted > 0
    return {
        "balanced_accuracy": float((hits[occurs] / true[occurs]).mean()),
        "macro_f1": float((2 * hits[mentioned] / (true + predicted)[mentioned]).mean()),
    }
