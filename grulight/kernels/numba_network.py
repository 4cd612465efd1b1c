"""Predictions of a whole GRUNet of one layer in one compiled call.

Legend: N sequences at hand, B batch, T time, I input, H hidden, M answers, C numbers in one.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from grulight.kernels import sizes
from grulight.kernels.numba_cache import BOUNDSCHECK, compiled, counted, jit
from grulight.kernels.numba_cpu import forward_blocks
from grulight.kernels.numba_head import (
    CLASSES,
    linear,
    to_predictions,
)
from grulight.kernels.numba_simd import data_of, reach
from grulight.kernels.numba_weights import copy, pack, padded

room_to_pack = counted(sizes.room_to_pack)


@jit
def plain() -> Any:
    """Return 0 and False as variables: for the literals Numba would compile all kernels anew."""
    return np.int64(0), np.bool_(False)


@jit
def longest_first(lengths: Any, steps: int) -> Any:
    """Return the order of falling lengths; among equals, the first comes first."""
    starts = np.zeros(steps + 2, np.int64)
    for length in lengths:
        starts[steps - length + 1] += 1
    for place in range(steps + 1):
        starts[place + 1] += starts[place]
    order = np.empty(len(lengths), np.int64)
    for b in range(len(lengths)):
        order[starts[steps - lengths[b]]] = b
        starts[steps - lengths[b]] += 1
    return order


@intrinsic
def same_bits(typing: Any, array: Any, kept: Any, at: Any) -> Any:
    """Return whether ``kept`` from ``at`` on is an array, bit for bit; both are flat."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        text, size = ir.IntType(8).as_pointer(), ir.IntType(64)
        memcmp = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.IntType(32), (text, text, size)), "memcmp"
        )
        ours = context.make_array(signature.args[0])(context, builder, arguments[0])
        theirs = data_of(context, builder, signature.args[1], arguments[1])
        pair = ours.data, builder.gep(theirs, [arguments[2]])
        count = builder.mul(ours.nitems, ours.itemsize)
        found = builder.call(memcmp, [*(builder.bitcast(each, text) for each in pair), count])
        return builder.icmp_signed("==", found, found.type(0))

    return types.boolean(array, kept, types.intp), emit


@jit
def packed_before(w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, kept: Any) -> Any:
    """Return what ``pack`` returns, which takes longer than a sequence, from the call before.

    It is packed anew where a weight has changed. ``kept`` (room_to_pack,), zero at first, holds the
    packed weights and those that they were made of.
    """
    inputs, hidden = w_ih.shape[1], w_hh.shape[1]
    p = padded(hidden, kept.itemsize)
    by_input, by_state, bias = kept[: 3 * inputs * p], kept[3 * inputs * p :], kept
    by_state, bias = by_state[: 3 * hidden * p], by_state[3 * hidden * p :][: 4 * p]
    at, changed = 3 * (inputs + hidden) * p + 4 * p, False
    for array in (w_ih.ravel(), w_hh.ravel(), b_ih, b_hh):
        if BOUNDSCHECK:
            reach(kept, at + array.size - 1)
        if not same_bits(array, kept, at):
            changed = True
            copy(array, 0, kept, at, array.size)
        at += array.size
    if changed:
        fresh_input, fresh_state, fresh_bias = pack(w_ih, w_hh, b_ih, b_hh)
        copy(fresh_input, 0, by_input, 0, by_input.size)
        copy(fresh_state, 0, by_state, 0, by_state.size)
        copy(fresh_bias, 0, bias, 0, bias.size)
    return by_input, by_state, bias


@intrinsic
def numbers_at(typing: Any, like: Any, address: Any) -> Any:
    """Return the pointer to numbers of ``like``'s type at an address."""
    pointer = types.CPointer(like.dtype)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[1], context.get_value_type(pointer))

    return pointer(like, types.int64), emit


@compiled
def predict(
    values: Any, lengths: Any, places: Any, hidden: int, answer: int, per_step: bool, found: Any
) -> None:
    """Write what is predicted for raw sequences, or for each of their steps.

    Args:
        values: Padded sequences (B, T, I).
        lengths: Valid steps (B,), or empty where all are valid.
        places: Addresses, as each array that is handed over takes a fifth of a microsecond: of
            the mean that is taken off first (I,), of the scale that is divided by then (I,), of
            W_ih (3H, I), W_hh (3H, H), b_ih (3H,), b_hh (3H,) as ``nn.GRU`` has them, of the
            head's weight (C, H) and bias (C,), of the mean (C,) and scale (C,) of values, and of
            what ``packed_before`` keeps. 0 where there is none; C-contiguous, of the values' type.
        hidden: H.
        answer: Which kind of answers, of ``numba_head``.
        per_step: Whether there is one for each step.
        found: (B, C) or (B T, C), written here; two classes are told apart by one logit.
    """
    batch, steps, inputs = values.shape
    kind, gates, logits = values.dtype, 3 * hidden, found.shape[1]
    if answer == CLASSES and logits == 2:
        logits = 1
    constants = logits if places[9] else 0
    biased = gates if places[4] else 0
    w_ih = carray(numbers_at(values, places[2]), (gates, inputs))
    w_hh = carray(numbers_at(values, places[3]), (gates, hidden))
    b_ih = carray(numbers_at(values, places[4]), (biased,))
    b_hh = carray(numbers_at(values, places[5]), (biased,))
    weight = carray(numbers_at(values, places[6]), (logits, hidden))
    bias = carray(numbers_at(values, places[7]), (logits,))
    unit_mean = carray(numbers_at(values, places[8]), (constants,))
    unit_scale = carray(numbers_at(values, places[9]), (constants,))
    kept = carray(numbers_at(values, places[10]), (room_to_pack(inputs, hidden, values.itemsize),))
    if places[0]:
        mean = carray(numbers_at(values, places[0]), (inputs,))
        scale = carray(numbers_at(values, places[1]), (inputs,))
        standard = np.empty((batch, steps, inputs), kind)
        for b in range(batch):
            for t in range(steps):
                for i in range(inputs):
                    standard[b, t, i] = (values[b, t, i] - mean[i]) / scale[i]
        values = standard
    if lengths.size:
        order = longest_first(lengths, steps)
    else:
        lengths, order = np.full(batch, steps), np.arange(batch)
    last, none = np.empty((batch, hidden), kind), np.empty(0, kind)
    first, reverse = plain()
    h0 = np.zeros((batch, hidden), kind)
    packed = packed_before(w_ih, w_hh, b_ih, b_hh, kept)
    states = np.zeros((batch if per_step else 0, steps, hidden), kind)
    forward_blocks(values, h0, lengths, order, reverse, packed,
                   none, states, last, first, batch)  # fmt: skip
    read = states.reshape(batch * steps, hidden) if per_step else last
    linear(read, weight, bias, found[:, found.shape[1] - logits :])
    to_predictions(found, answer, unit_mean, unit_scale)
