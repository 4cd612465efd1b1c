"""The GRU in Triton, forward and backward, each in one launch: deterministic and batch-invariant.

Equations: ``grulight.kernels.reference``. A program reads a tile of sequences from the first to the
last step. Their states never leave registers, and the weights are loaded once (of W_ih the first
columns: more are read again each step). Tiles depend on nothing but the layer, and no sequence
sees its neighbours, so that it gives the same bits in any batch. There are no atomics: each program
sums its own gradients, and torch sums those; where they would not fit on chip (``_sums_inside``)
the derivatives by the gates are stored, and one product each makes the gradients of the weights
and of the input, in TF32 only if ``torch.backends.cuda.matmul`` says so. Of these alone, cuBLAS
does not promise the same bits in another batch.

The input is projected inside: I numbers of x are read where 3H projected ones would be written and
read, and no library takes another algorithm for another batch. Of the forward pass the backward
pass keeps the states alone and computes the gates again: for I = 5 and H = 16 that is 2 kFLOP in
place of 512 bytes a step, which a GPU with 20 FLOP per byte does five times as fast.

The floor, per sequence and step, in float32 with I = 5 and H = 16: forward 4(I + H) = 84 bytes and
6H(I + H) = 2.0 kFLOP; backward 84 bytes (168 with derivatives by every state and by x) and three
times the FLOP; each with 3H exponentials and as many divisions. With the 3.0 TB/s that a copy
reached on an H100, and the 67 TFLOP/s of its data sheet outside tensor cores, neither takes less
than 0.03 ns forward and 0.12 ns in all: 80 us for 65,536 sequences of 10 steps. There forward took
86 us and backward 358 (Triton 3.6, spilling 128 registers), where cuDNN 9.19 takes 1.5 and 25 ms.
In 16 bits half the bytes move and tensor cores take each product once instead of six times.
"""

from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.nvidia.compiler import CUDAOptions

from grulight.kernels import gate
from grulight.kernels.triton_kernels import PRECISION, backward_kernel, forward_kernel

DTYPES = torch.float32, torch.bfloat16, torch.float16
LARGEST = 64  # units in float32: on no GPU is there room for W_hh of 128 as three bfloat16 each
LARGEST_HALF = 128  # units in 16 bits
LEAST = 16  # numbers that tensor cores sum over
ROOMY = 16  # padded units that leave room on chip for the gradients of the weights

# by padded units: sequences and warps of a program, in float32 on an H100 the fastest of several
FORWARD = {16: (64, 4), 32: (64, 4), 64: (16, 4), 128: (16, 8)}
BACKWARD = {16: (16, 1), 32: (16, 4), 64: (16, 8), 128: (16, 8)}
# bytes of shared memory that the greedier kernel takes, by bytes of a number and padded units
SHARED = {
    4: {16: 16_384, 32: 53_248, 64: 176_128},
    2: {16: 16_384, 32: 24_576, 64: 65_536, 128: 225_280},
}


@cache
def obstacle(hidden: int, dtype: torch.dtype, device: torch.device) -> str | None:
    """Say why the kernels cannot compute such a layer on a CUDA device, if they cannot."""
    if dtype not in DTYPES:
        return f"computes in float32, bfloat16 or float16, and the weights are {dtype}"
    largest = LARGEST if dtype == torch.float32 else LARGEST_HALF
    if hidden > largest:
        return f"takes at most {largest} units in {dtype}, and there are {hidden}"
    if torch.version.hip:
        return "was made for NVIDIA's GPUs"
    if PRECISION.value not in CUDAOptions.allowed_dot_input_precisions:
        return f"needs a Triton that knows {PRECISION.value}, and this is {triton.__version__}"
    found: Any = torch.cuda.get_device_properties(device)  # torch's types lack one of these
    needed = SHARED[dtype.itemsize][_padded(hidden)]
    if found.major < 8 or found.shared_memory_per_block_optin < needed:
        return (
            f"needs compute capability 8.0 and, for {hidden} units, {needed} bytes of shared "
            f"memory; {found.name} has {found.major}.{found.minor} and "
            f"{found.shared_memory_per_block_optin}"
        )
    return None


def _padded(hidden: int) -> int:
    return max(int(triton.next_power_of_2(hidden)), LEAST)


def forward(
    x: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """Read padded sequences with one layer in one direction.

    Args:
        x: (batch, time, input), of one of ``DTYPES`` as all others; sums are float32.
        h0: Initial states (batch, hidden).
        lengths: Valid steps (batch,), which come first; None means all are valid.
        w_ih: As ``nn.GRU`` has them, like the arguments that follow.
        w_hh: (3 hidden, hidden).
        b_ih: (3 hidden,) or None.
        b_hh: (3 hidden,) or None.
        reverse: Read from the last valid step to the first.

    Returns:
        States (batch, time, hidden), zero past the end; last states (batch, hidden).

    Raises:
        InputError: A tensor does not fit the others. Lengths are not looked at, which would wait
            for the GPU: ``FusedGRU`` does so once for all layers.
    """
    gate.layer(x, h0, lengths, w_ih, w_hh, b_ih, b_hh, DTYPES)
    (batch, steps, _), hidden = x.shape, w_hh.shape[1]
    out, last = x.new_empty(batch, steps, hidden), x.new_empty(batch, hidden)
    arrays = _ready(x, h0, _lengths(lengths, x), w_ih, w_hh, b_ih, b_hh)
    tile, settings = _settings(w_ih, w_hh, reverse, FORWARD)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        forward_kernel[(triton.cdiv(batch, tile),)](*arrays, out, last, batch, steps, **settings)
    return out, last


def backward(
    d_out: Tensor | None,
    d_last: Tensor | None,
    x: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    out: Tensor,
    reverse: bool,
    needs_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the derivatives by x (empty unless needed), by h0, and by the parameters, flat.

    Args:
        d_out: Derivatives by the states; None for zero.
        d_last: Derivatives by the last states; None for zero.
        x: As ``forward`` was given it, like the arguments that follow.
        h0: As above.
        lengths: As above.
        w_ih: As above.
        w_hh: As above.
        b_ih: As above.
        b_hh: As above.
        out: The states that ``forward`` returned.
        reverse: As above.
        needs_x: Whether derivatives by x are asked for.

    Raises:
        InputError: A tensor does not fit the others.
    """
    gate.layer(x, h0, lengths, w_ih, w_hh, b_ih, b_hh, DTYPES)
    gate.pulls(x, d_out, d_last, h0)
    gate.like(x, "out", out, (*x.shape[:2], w_hh.shape[1]))
    (batch, steps, inputs), hidden = x.shape, w_hh.shape[1]
    tile, settings = _settings(w_ih, w_hh, reverse, BACKWARD)
    programs, parameters = triton.cdiv(batch, tile), 3 * hidden * (inputs + hidden)
    d_x, d_h0 = x.new_empty(x.shape if needs_x else (0, 0, 0)), h0.new_empty(h0.shape)
    sums = d_gates = None
    if _sums_inside(settings):
        sums = x.new_empty(programs, parameters + 4 * hidden, dtype=torch.float32)
    else:
        d_gates = x.new_empty(batch, steps, 4 * hidden)
    lengths = _lengths(lengths, x)
    given = _ready(d_out, d_last, x, h0, lengths, w_ih, w_hh, b_ih, b_hh, out)
    results = d_x if needs_x and d_gates is None else None, d_h0, d_gates, sums
    on = torch.cuda.device_of(x)  # type: ignore[no-untyped-call]
    with on, torch.autocast(x.device.type, enabled=False):
        backward_kernel[(programs,)](*given, *results, batch, steps, **settings)
        if d_gates is None:
            assert sums is not None
            total = sums.sum(0, dtype=torch.float64)
        else:
            valid_x, before = _before(x, h0, out, lengths, reverse)
            total = _products(d_gates, valid_x, before)
            if needs_x:
                torch.matmul(d_gates[..., : 3 * hidden], w_ih, out=d_x)
    weights, gates = total[:parameters], total[parameters:]
    biases = [] if b_ih is None else [gates[: 3 * hidden], _recurrent(gates, hidden)]
    return d_x, d_h0, torch.cat([weights, *biases]).to(x.dtype)


def _settings(
    w_ih: Tensor, w_hh: Tensor, reverse: bool, tiles: dict[int, tuple[int, int]]
) -> tuple[int, dict[str, int]]:
    """Return the sequences of a program and a kernel's settings, by the layer's size alone."""
    inputs, hidden = w_ih.shape[1], w_hh.shape[1]
    units = _padded(hidden)
    sequences, warps = tiles[units]
    return sequences, {
        "INPUTS": inputs,
        "HIDDEN": hidden,
        "REVERSE": reverse,
        "TILE_B": sequences,
        "TILE_I": LEAST,
        "TILE_H": units,
        "num_warps": warps,
        "num_stages": 1,
        "enable_fp_fusion": True,
    }


def _sums_inside(settings: dict[str, int]) -> bool:
    """Say whether a program has room for the gradients of all weights."""
    return settings["INPUTS"] <= settings["TILE_I"] and settings["TILE_H"] <= ROOMY


def _lengths(lengths: Tensor | None, x: Tensor) -> Tensor | None:
    return None if lengths is None else lengths.to(x.device, torch.int64)


def _ready(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    return tuple(None if tensor is None else tensor.detach().contiguous() for tensor in tensors)


def _before(
    x: Tensor, h0: Tensor, out: Tensor, lengths: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Return the inputs, zero past the end, and the state before each step (batch, time, ...)."""
    pieces = [out[:, 1:], h0[:, None]] if reverse else [h0[:, None], out[:, :-1]]
    states = torch.cat(pieces, 1)
    if lengths is not None:
        if reverse:
            states[torch.arange(len(out), device=out.device), lengths - 1] = h0
        past = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
        x = x.masked_fill(past[..., None], 0.0)
    return x, states


def _products(d_gates: Tensor, x: Tensor, before: Tensor) -> Tensor:
    """Return the gradients of W_ih, of W_hh and of the biases of r, z, n and c, flat."""
    hidden = before.shape[2]
    d_gates, x, before = (array.flatten(0, 1) for array in (d_gates, x, before))
    d_w_ih = d_gates[:, : 3 * hidden].T @ x
    d_w_hh = _recurrent(d_gates.T @ before, hidden)
    return torch.cat([d_w_ih.flatten(), d_w_hh.flatten(), d_gates.sum(0)])


def _recurrent(rows: Tensor, hidden: int) -> Tensor:
    """Return of the rows of r, z, n and c those that the recurrent weights have: r, z and c."""
    return torch.cat([rows[: 2 * hidden], rows[3 * hidden :]])
