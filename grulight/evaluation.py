"""Scores from a confusion matrix, and its picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grulight.errors import one_line
from grulight.files import written_whole

Confusion = NDArray[np.int64]
PICTURE_CLASSES = 200  # a picture of more shows nothing and takes long
_NAME = 40  # most characters of a class name
_SHORT = 12  # characters of one that needs no more room
_READABLE = 40  # classes in a picture that still has room for every count


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


def save_confusion_picture(
    confusion: Confusion, class_names: Sequence[str], path: str | Path
) -> None:
    """Draw a confusion matrix (true class, predicted class) as a PNG file.

    Raises:
        InputError: The file cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import, and only wanted here

    side = 2.4 + 0.45 * min(len(class_names), _READABLE)
    names = [one_line(name, _NAME) for name in class_names]
    beyond = max(0, max(map(len, names)) - _SHORT)
    wide, upright = 0.1 * beyond, len(names) > 4 or beyond > 0
    figure = Figure(figsize=(side + 0.8 + wide, side + wide), layout="constrained", dpi=150)
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    ticks = range(len(class_names))
    axes.set_xticks(ticks, names, rotation=90 if upright else 0)
    axes.set_yticks(ticks, names)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a class may be called "$a"
    axes.set(xlabel="predicted class", ylabel="true class")
    for (row, column), count in np.ndenumerate(confusion[:_READABLE, :_READABLE]):
        if len(class_names) > _READABLE:
            break
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")
