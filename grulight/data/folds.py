"""The training part cut into folds for cross-validation."""

from collections.abc import Iterator

import numpy as np

from grulight.data.partition import fold_numbers
from grulight.data.sequences import Sequences
from grulight.data.splitting import Parts
from grulight.errors import InputError, option


def folds(train: Sequences, count: int, seed: int) -> Iterator[Parts]:
    """Yield parts that train on all folds but one, which validates; each fold does so once.

    The sequences are dealt at random. Where each has one class, every fold has its share of each
    class; where they have groups, each group is in one fold.

    Args:
        train: The training part.
        count: How many folds.
        seed: Of the dealing.

    Raises:
        InputError: There are fewer sequences, sequences of a class or groups than folds.
    """
    if train.once is not None:
        raise InputError(
            f"{option('folds')}: the windows of a series are split by time; leave it out, and "
            f"{option('data.val_size')} of the training part validates."
        )
    if not 2 <= count <= len(train):
        raise InputError(
            f"{option('folds', count)}: expected 2 to {len(train)}, the training sequences "
            "there are."
        )
    if train.labels is not None and not train.has_values and not train.per_step:
        rarest, least = _rarest(train)
        if least < count:
            raise InputError(
                f"{option('folds', count)}: the class {rarest!r} has {least} training sequences, "
                "and every fold needs one. Use fewer folds."
            )
    numbers = fold_numbers(train, count, seed)
    for fold in range(count):
        kept, held_out = np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)
        yield Parts(train.take(kept), train.take(held_out), train.part(0, 0))


def _rarest(train: Sequences) -> tuple[str, int]:
    assert train.labels is not None
    present, counts = np.unique(train.labels, return_counts=True)
    at = int(counts.argmin())
    return train.class_names[present[at]], int(counts[at])
