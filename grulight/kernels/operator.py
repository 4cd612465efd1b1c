"""The compiled GRU as one operator of torch, ``grulight::gru``, with its gradient.

torch.compile, torch.export and autocast see one operator per layer and direction; under autocast
it computes in float32. The gradient has no gradient of its own.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grulight.kernels import compiled, gate
from grulight.kernels.eager import spare_compiler
from grulight.kernels.reference import Array
from grulight.kernels.sizes import BLOCK, group_of, padded
from grulight.kernels.threads import share

Optional = Tensor | None
DTYPES = torch.float32, torch.float64


@torch.library.custom_op("grulight::gru", mutates_args=(), device_types="cpu")
def gru(
    x: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    reverse: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Read padded sequences with one layer in one direction.

    Args:
        x: (batch, time, input), float32 or float64 as all others.
        h0: Initial states (batch, hidden).
        lengths: Valid steps (batch,), which come first; None means all are valid.
        w_ih: As ``nn.GRU`` has them, like the arguments that follow.
        w_hh: (3 hidden, hidden).
        b_ih: (3 hidden,) or None.
        b_hh: (3 hidden,) or None.
        reverse: Read from the last valid step to the first.
        keep: Whether a gradient will be asked for.

    Returns:
        States (batch, time, hidden), zero past the end; last states (batch, hidden); with ``keep``
        a tape for the backward pass, else an empty tensor.

    Raises:
        InputError: A tensor does not fit the others, or a length the time steps.
    """
    gate.layer(x, h0, lengths, w_ih, w_hh, b_ih, b_hh, DTYPES)
    out, last, tape = _outputs(x, w_hh, keep)
    if lengths is not None:  # what is not written is not random either
        out.zero_()
        tape.zero_()
    arrays = *_arrays(x, h0), *_order(x, lengths)
    weights = _arrays(w_ih, w_hh, *(x.new_empty(0) if b is None else b for b in (b_ih, b_hh)))
    results = _arrays(tape, out, last)

    def work(start: int, stop: int) -> None:
        first, end = start * BLOCK, min(stop * BLOCK, len(x))
        compiled.forward(*arrays, reverse, *weights, *results, first, end)

    share(work, -(-len(x) // BLOCK), _multiplications(x, w_ih, w_hh))
    return out, last, tape


@gru.register_fake
def _gru_shapes(
    x: Tensor, h0: Tensor, lengths: Any, w_ih: Any, w_hh: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return _outputs(x, w_hh, rest[-1])


@torch.library.custom_op("grulight::gru_backward", mutates_args=(), device_types="cpu")
def gru_backward(
    d_out: Tensor | None,
    d_last: Tensor | None,
    x: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    kept: Tensor,
    reverse: bool,
    needs_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the derivatives by x (empty unless needed), by h0, and by the parameters, flat.

    Raises:
        InputError: As ``gru``; or ``kept`` is no tape of such a call.
    """
    gate.layer(x, h0, lengths, w_ih, w_hh, b_ih, b_hh, DTYPES)
    gate.pulls(x, d_out, d_last, h0)
    gate.tape(x, kept, w_hh.shape[1])
    biases = b_ih is not None
    d_x, d_h0, d_parameters = _gradients(x, w_ih, w_hh, biases, needs_x)
    if lengths is not None:
        d_x.zero_()
    (batch, _, inputs), hidden = x.shape, w_hh.shape[1]
    arrays = *_arrays(x), *_order(x, lengths)
    weights = _arrays(w_ih, w_hh, kept)
    d_out = x.new_empty(0, 0, 0) if d_out is None else d_out
    d_last = x.new_empty(0, 0) if d_last is None else d_last
    results = _arrays(d_out, d_last, d_x, d_h0)
    size = group_of(batch)
    groups, units = -(-batch // size), padded(hidden, x.itemsize)
    partial = np.zeros((groups, 3 * (inputs + hidden) * units), arrays[0].dtype)
    d_biases = np.zeros((groups, 4 * units))

    def work(start: int, stop: int) -> None:
        compiled.backward(*arrays, reverse, *weights, *results, partial, d_biases, start, stop)

    share(work, groups, 2 * _multiplications(x, w_ih, w_hh))
    compiled.total(partial, d_biases, inputs, hidden, biases, d_parameters.numpy())
    return d_x, d_h0, d_parameters


@gru_backward.register_fake
def _gru_backward_shapes(
    d_out: Any, d_last: Any, x: Tensor, h0: Any, lengths: Any, w_ih: Tensor, w_hh: Tensor,
    b_ih: Any, *rest: Any,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return _gradients(x, w_ih, w_hh, b_ih is not None, rest[-1])


@gru.register_kernel("cuda")
def _gru_on_cuda(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    from grulight.kernels import triton_cuda

    *given, _ = arguments
    return *triton_cuda.forward(*given), given[0].new_empty(0)


@gru_backward.register_kernel("cuda")
def _gru_backward_on_cuda(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    from grulight.kernels import triton_cuda

    return triton_cuda.backward(*arguments)


def _outputs(x: Tensor, w_hh: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    (batch, steps, _), hidden = x.shape, w_hh.shape[1]
    slot = padded(hidden, x.itemsize)
    tape = x.new_empty(batch * (5 * steps + 1) * slot if keep and not x.is_cuda else 0)
    return x.new_empty(batch, steps, hidden), x.new_empty(batch, hidden), tape


def _gradients(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, biases: bool, needs_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    parameters = w_ih.numel() + w_hh.numel() + 2 * len(w_hh) * biases
    d_x = x.new_empty(x.shape if needs_x else (0, 0, 0))
    return d_x, x.new_empty(x.shape[0], w_hh.shape[1]), x.new_empty(parameters)


def _order(x: Tensor, lengths: Tensor | None) -> tuple[Array, Array]:
    """Return the lengths, and the sequences by falling length."""
    if lengths is None:
        return _whole(x.shape[0], x.shape[1])
    gate.lengths_of(lengths, *x.shape[:2])
    counted = lengths.numpy().astype(np.int64)
    return counted, np.argsort(-counted, kind="stable")


@lru_cache(maxsize=8)
def _whole(batch: int, steps: int) -> tuple[Array, Array]:
    return np.full(batch, steps), np.arange(batch)


def _arrays(*tensors: Tensor) -> tuple[Array, ...]:
    arrays = (tensor.detach().contiguous().numpy() for tensor in tensors)
    return tuple(gate.ready(array, array.dtype) for array in arrays)


def _multiplications(x: Tensor, w_ih: Tensor, w_hh: Tensor) -> int:
    return x.shape[0] * x.shape[1] * (w_ih.numel() + w_hh.numel())


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *given, ctx.reverse, ctx.keep = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)
    # Triton's backward pass computes the gates again from the states
    ctx.save_for_backward(*given, output[0] if given[0].is_cuda else output[2])


def _backward(ctx: Any, d_out: Optional, d_last: Optional, _: Optional) -> tuple[Optional, ...]:
    if not ctx.keep:
        raise RuntimeError("grulight::gru was called with keep=False, so it has no gradient.")
    *given, kept = ctx.saved_tensors
    _, _, _, w_ih, w_hh, b_ih, _ = given
    needs_x = ctx.needs_input_grad[0]
    d_x, d_h0, flat = gru_backward(d_out, d_last, *given, kept, ctx.reverse, needs_x)
    gates = len(w_hh)
    sizes = [w_ih.numel(), w_hh.numel()] + [gates, gates] * (b_ih is not None)
    d_w_ih, d_w_hh, *d_biases = flat.split(sizes)
    d_weights = d_w_ih.view_as(w_ih), d_w_hh.view_as(w_hh), *(d_biases or (None, None))
    return d_x if needs_x else None, d_h0, None, *d_weights, None, None


gru.register_autograd(_backward, setup_context=_keep)
torch.library.register_autocast(gru, "cpu", torch.float32)
torch.library.register_autocast(gru, "cuda", torch.float32)

for _operator in (gru, gru_backward):
    for _function in getattr(_operator, "_backend_fns", {}).values():
        spare_compiler(_function)
