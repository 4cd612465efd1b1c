"""Which kernels there are, known without torch."""

import os
from importlib.util import find_spec
from typing import Literal

Kernel = Literal["auto", "torch", "numba", "triton"]
KERNELS = ("auto", "torch", "numba", "triton")

# Up to so many units Numba's kernels were faster than nn.GRU for every batch (1 to 256 sequences)
# and length (10 and 100 steps, equal and unequal) that was tried, trained and predicted: 0.03 to
# 0.9 of its time, on one thread and on two with AVX-512, on one with AVX2 (0.03 to 0.6). With 512
# they take 0.1 to 1.2 of it, with 1024 up to 1.7.
LARGEST = 256


def _obstacle_to_numba() -> str | None:
    """Say why Numba compiles nothing, if it does not."""
    if find_spec("numba") is None:  # a torch-only installation still reads checkpoints
        return "needs the package numba: pip install numba"
    if os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0"):
        return "is compiled by Numba, which NUMBA_DISABLE_JIT forbids: unset it"
    return None


NUMBA_OBSTACLE = _obstacle_to_numba()
HAS_NUMBA = NUMBA_OBSTACLE is None
