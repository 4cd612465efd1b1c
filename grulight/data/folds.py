"""The training part cut into folds for cross-validation."""

from collections.abc import Iterator

import numpy as np

from grulight.data.sequences import Sequences
from grulight.data.splitting import Parts
from grulight.errors import InputError
from grulight.extras import extra


def folds(train: Sequences, count: int, seed: int) -> Iterator[Parts]:
    """Yield parts that train on all folds but one, which validates; each fold does so once.

    The sequences are shuffled. Where each has one class, every fold has its share of each class
    (scikit-learn's ``StratifiedKFold``, else ``KFold``).

    Args:
        train: The training part.
        count: How many folds.
        seed: Of the shuffling.

    Raises:
        InputError: There are fewer sequences, or sequences of a class, than folds.
    """
    selection = extra("sklearn.model_selection", "tune", "--folds")
    if not 2 <= count <= len(train):
        raise InputError(
            f"--folds {count}: expected 2 to {len(train)}, the training sequences there are."
        )
    classes = train.labels is not None and not train.has_values and not train.per_step
    if classes:
        rarest, least = _rarest(train)
        if least < count:
            raise InputError(
                f"--folds {count}: the class {rarest!r} has {least} training sequences, and every "
                "fold needs one. Use fewer folds."
            )
    kind = selection.StratifiedKFold if classes else selection.KFold
    splitter = kind(count, shuffle=True, random_state=seed)
    positions = np.arange(len(train))
    for kept, held_out in splitter.split(positions, train.labels if classes else None):
        yield Parts(train.take(kept), train.take(held_out), train.part(0, 0))


def _rarest(train: Sequences) -> tuple[str, int]:
    assert train.labels is not None
    present, counts = np.unique(train.labels, return_counts=True)
    at = int(counts.argmin())
    return train.class_names[present[at]], int(counts[at])
