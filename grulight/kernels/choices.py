"""Which kernels there are, known without torch."""

from importlib.util import find_spec
from typing import Literal

Kernel = Literal["auto", "torch", "numba", "triton"]
KERNELS = ("auto", "torch", "numba", "triton")

# Beyond this many units `auto` takes nn.GRU: there the products are large enough for BLAS.
LARGEST = 256

HAS_NUMBA = find_spec("numba") is not None  # a torch-only installation still reads checkpoints
