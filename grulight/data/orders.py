"""The order in which an epoch visits the sequences: a pure function of seed and epoch."""

import numpy as np
from numpy.typing import NDArray

from grulight.data.batches import Order, shuffled
from grulight.data.sequences import Sequences

_TOGETHER = 8  # blocks whose sequences are mixed


def shuffled_sequences(sequences: Sequences, seed: int, epoch: int) -> Order:
    """Return a shuffled order, exact where the values allow random access, else by blocks."""
    blocks = getattr(sequences.values, "blocks", None)
    if blocks is None:
        return shuffled(len(sequences), seed, epoch)
    return shuffled_blocks(blocks, seed, epoch)


def shuffled_blocks(
    blocks: NDArray[np.int64], seed: int, epoch: int, together: int = _TOGETHER
) -> Order:
    """Shuffle the blocks, then the sequences of every few blocks that follow each other.

    So each block is needed in one stretch of the epoch only: one on a slow disk is read
    once. With ``together`` blocks or fewer the order is an exact shuffle.

    Args:
        blocks: (blocks + 1,) positions at which blocks begin, and the number of sequences.
        seed: Seed of the run.
        epoch: Counted from 0.
        together: Blocks whose sequences are mixed.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(blocks) - 1)
    mixed = []
    for start in range(0, len(order), together):
        few = order[start : start + together]
        mixed.append(np.concatenate([np.arange(blocks[i], blocks[i + 1]) for i in few]))
        generator.shuffle(mixed[-1])
    return np.concatenate(mixed)
