"""Keras' GRU once more in NumPy, written from the equations: a witness that shares no code."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def old_hard_sigmoid(x: Array) -> Array:
    return np.clip(0.2 * x + 0.5, 0, 1)


def gru(
    x: Array,
    kernel: Array,
    recurrent: Array,
    bias: Array | None,
    *,
    reset_after: bool = True,
    gate: object = sigmoid,
    backwards: bool = False,
    mask: NDArray[np.bool_] | None = None,
) -> Array:
    """Return every output (B, T, H), in the order of the scan; masked steps repeat the last one."""
    batch, steps, _ = x.shape
    units = recurrent.shape[0]
    b_in = np.zeros(3 * units) if bias is None else (bias[0] if reset_after else bias)
    b_rec = bias[1] if bias is not None and reset_after else np.zeros(3 * units)
    z_, r_, h_ = (slice(i * units, (i + 1) * units) for i in range(3))
    h = np.zeros((batch, units))
    out = np.zeros((batch, units))
    outputs = []
    for t in range(steps)[:: -1 if backwards else 1]:
        a = x[:, t] @ kernel + b_in
        z = gate(a[:, z_] + h @ recurrent[:, z_] + b_rec[z_])
        r = gate(a[:, r_] + h @ recurrent[:, r_] + b_rec[r_])
        if reset_after:
            n = np.tanh(a[:, h_] + r * (h @ recurrent[:, h_] + b_rec[h_]))
        else:
            n = np.tanh(a[:, h_] + (r * h) @ recurrent[:, h_])
        keep = np.ones((batch, 1), bool) if mask is None else mask[:, t, None]
        h = np.where(keep, z * h + (1 - z) * n, h)
        out = np.where(keep, h, out)
        outputs.append(out)
    return np.stack(outputs, 1)
