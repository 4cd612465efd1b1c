"""How the kernels for CPUs lay out and share their work, known without Numba.

Kernels call these functions too (``numba_cache.counted``).
"""

import inspect

CODE = inspect.currentframe().f_code  # type: ignore[union-attr]  # what Python made of this file

VECTOR = 64  # bytes: the widest registers of today's CPUs
BLOCK = 32  # sequences that share the reading of weights
GROUPS = 32  # at most this many partial sums of gradients


def padded(size: int, itemsize: int) -> int:
    """Return a size rounded up to whole vectors."""
    lanes = VECTOR // itemsize
    return (size + lanes - 1) // lanes * lanes


def group_of(batch: int) -> int:
    """Return how many sequences share a partial sum: whole blocks; the batch alone decides."""
    blocks = (batch + BLOCK - 1) // BLOCK
    return max(1, (blocks + GROUPS - 1) // GROUPS) * BLOCK


def room_to_pack(inputs: int, hidden: int, itemsize: int) -> int:
    """Return how many numbers ``numba_network.packed_before`` keeps at most."""
    p = padded(hidden, itemsize)
    room: int = 3 * hidden * (inputs + hidden + 2) + (3 * (inputs + hidden) + 4) * p
    return room
