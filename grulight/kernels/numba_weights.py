"""Weights as the kernels for CPUs read them: in strips as wide as a vector (``numba_simd``).

Legend: I input, H hidden, P = H padded to whole vectors, G = 3H stacked gates in torch's order.
"""

from typing import Any

import numpy as np

from grulight.kernels import sizes
from grulight.kernels.numba_cache import counted, jit
from grulight.kernels.numba_simd import place
from grulight.kernels.sizes import VECTOR

padded = counted(sizes.padded)


@jit
def copy(source: Any, start: int, into: Any, at: int, count: int) -> None:
    """Copy numbers between flat arrays; Numba takes seconds to compile an assignment of slices."""
    for i in range(count):
        into[at + i] = source[start + i]


@jit
def in_strips(
    weights: Any, at: int, band: int, hidden: int, count: int, strips: Any, start: int, back: bool
) -> None:
    """Copy a gate's weights (H, count), flat from a place on, to a band; ``back`` copies from it.

    By squares, whose lines of memory stay in the cache.
    """
    lanes = VECTOR // strips.itemsize
    for j_first in range(0, hidden, lanes):
        for k_first in range(0, count, lanes):
            for j in range(j_first, min(j_first + lanes, hidden)):
                there = start + place(j, k_first, count, band, 3, lanes)
                for k in range(k_first, min(k_first + lanes, count)):
                    if back:
                        weights[at + j * count + k] = strips[there]
                    else:
                        strips[there] = weights[at + j * count + k]
                    there += 3 * lanes


@jit
def pack(w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
    """Lay weights out for the forward pass: by input (I, 3, P) as n, r, z; by state (H, 3, P).

    They lie in strips. The bands of the state are r, z, n. The biases (4, P) are those of n, r, z
    and c.
    """
    inputs, hidden = w_ih.shape[1], w_hh.shape[1]
    p = padded(hidden, w_ih.itemsize)
    by_input = np.zeros(inputs * 3 * p, w_ih.dtype)
    by_state = np.zeros(hidden * 3 * p, w_ih.dtype)
    bias = np.zeros(4 * p, w_ih.dtype)
    zero, no = np.int64(0), np.bool_(False)  # each literal would be compiled for itself
    for gate in range(3):
        in_strips(w_ih.ravel(), gate * hidden * inputs, (gate + 1) % 3, hidden, inputs,
                  by_input, zero, no)  # fmt: skip
        in_strips(w_hh.ravel(), gate * hidden * hidden, gate, hidden, hidden,
                  by_state, zero, no)  # fmt: skip
        for j in range(hidden if b_ih.size else 0):
            row = gate * hidden + j
            if gate < 2:
                bias[(gate + 1) * p + j] = b_ih[row] + b_hh[row]
            else:
                bias[j], bias[3 * p + j] = b_ih[row], b_hh[row]
    return by_input, by_state, bias


@jit
def pack_backward(w_ih: Any, w_hh: Any) -> Any:
    """Lay weights out for the backward pass: (3, H, I padded) and (3, H, P), and both widths.

    Those of each gate lie in strips.
    """
    hidden, inputs = w_hh.shape[1], w_ih.shape[1]
    wide, p = padded(inputs, w_ih.itemsize), padded(hidden, w_ih.itemsize)
    lanes = VECTOR // w_ih.itemsize
    by_input = np.zeros(3 * hidden * wide, w_ih.dtype)
    by_state = np.zeros(3 * hidden * p, w_ih.dtype)
    flat_ih, flat_hh = w_ih.ravel(), w_hh.ravel()
    for gate in range(3):
        for k in range(hidden):
            row = gate * hidden + k
            # the slots of a step are n, r, z, c
            at = (gate + 1) % 3 * hidden * wide
            for j in range(0, inputs, lanes):
                copy(flat_ih, row * inputs + j, by_input, at + place(j, k, hidden, 0, 1, lanes),
                     min(lanes, inputs - j))  # fmt: skip
            at = gate * hidden * p
            for j in range(0, hidden, lanes):
                copy(flat_hh, row * hidden + j, by_state, at + place(j, k, hidden, 0, 1, lanes),
                     min(lanes, hidden - j))  # fmt: skip
    return by_input, by_state, wide, p
