"""Which sequences of a part are asked about: evenly spaced ones, not more than take seconds."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Sequences

# what keeps a page quick to make
MOST_SEQUENCES, MOST_STEPS, MOST_NUMBERS = 10_000, 2_000_000, 20_000_000


def evenly_spaced_sample(part: Sequences, width: int) -> tuple[NDArray[np.int64], Sequences]:
    """Return places of evenly spaced sequences, and these: as many as can be asked quickly.

    Args:
        part: The part.
        width: Numbers in an answer.
    """
    _, steps, features = part.values.shape
    numbers = MOST_NUMBERS // (steps * max(features, width))
    count = min(len(part), max(min(MOST_SEQUENCES, MOST_STEPS // steps, numbers), 100))
    positions = np.unique(np.linspace(0, len(part) - 1, count).round().astype(np.int64))
    assert part.labels is not None
    return positions, replace(
        part,
        values=part.values[positions],
        lengths=part.lengths[positions],
        labels=part.labels[positions],
        ids=part.ids[positions],
    )
