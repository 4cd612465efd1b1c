"""A whole GRUNet of one layer in one compiled call: predictions, and steps of training.

Legend: N sequences at hand, B batch, T time, I input, H hidden, C logits.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from grulight.kernels.numba_cpu import (
    BLOCK,
    backward,
    blocks_per_group,
    copy,
    forward,
    forward_blocks,
    pack,
    padded,
    total,
)
from grulight.kernels.numba_gates import sigmoid
from grulight.kernels.numba_simd import BOUNDSCHECK, compiled, data_of, jit, reach


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


@jit
def label(last: Any, weight: Any, bias: Any, logits: Any) -> None:
    """Write the head's logits (B, C) for last states (B, H), each sum in order of H."""
    for b in range(len(last)):
        for c in range(len(bias)):
            logit = bias[c]
            for j in range(last.shape[1]):
                logit += last[b, j] * weight[c, j]
            logits[b, c] = logit


@jit
def raise_to_shares(row: Any) -> Any:
    """Turn a row of logits into softmax; return the log of the sum that divided, and its shift."""
    top = row[0]
    for c in range(1, row.size):
        top = max(top, row[c])
    total = row.dtype.type(0)
    for c in range(row.size):
        row[c] = np.exp(row[c] - top)
        total += row[c]
    for c in range(row.size):
        row[c] /= total
    return np.log(total) + top


@jit
def room_to_pack(inputs: int, hidden: int, itemsize: int) -> int:
    """Return how many numbers ``packed_before`` keeps at most."""
    p = padded(hidden, itemsize)
    room: int = 3 * hidden * (inputs + hidden + 2) + (3 * (inputs + hidden) + 4) * p
    return room


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
    values: Any, lengths: Any, places: Any, hidden: int, classes: int, probabilities: Any
) -> None:
    """Write class probabilities (B, classes) of raw sequences; one logit tells two classes apart.

    Args:
        values: Padded sequences (B, T, I).
        lengths: Valid steps (B,), or empty where all are valid.
        places: Addresses, as each array that is handed over takes a fifth of a microsecond: of
            the mean that is taken off first (I,), of the scale that is divided by then (I,), of
            W_ih (3H, I), W_hh (3H, H), b_ih (3H,), b_hh (3H,) as ``nn.GRU`` has them, of the
            head's weight (C, H) and bias (C,), and of what ``packed_before`` keeps. 0 where there
            is none; C-contiguous, of the values' type.
        hidden: H.
        classes: C.
        probabilities: Written here.
    """
    batch, steps, inputs = values.shape
    kind, gates, logits = values.dtype, 3 * hidden, classes if classes > 2 else 1
    biased = gates if places[4] else 0
    w_ih = carray(numbers_at(values, places[2]), (gates, inputs))
    w_hh = carray(numbers_at(values, places[3]), (gates, hidden))
    b_ih = carray(numbers_at(values, places[4]), (biased,))
    b_hh = carray(numbers_at(values, places[5]), (biased,))
    weight = carray(numbers_at(values, places[6]), (logits, hidden))
    bias = carray(numbers_at(values, places[7]), (logits,))
    kept = carray(numbers_at(values, places[8]), (room_to_pack(inputs, hidden, values.itemsize),))
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
    forward_blocks(values, h0, lengths, order, reverse, packed,
                   none, values[:0], last, first, batch)  # fmt: skip
    if logits > 1:
        label(last, weight, bias, probabilities)
        for b in range(batch):
            raise_to_shares(probabilities[b])
    else:
        label(last, weight, bias, probabilities[:, 1:])
        for b in range(batch):
            second = sigmoid(probabilities[b, 1])
            probabilities[b, 0], probabilities[b, 1] = kind.type(1) - second, second


@jit
def loss_backward(logits: Any, labels: Any) -> Any:
    """Return the mean cross entropy and how many are right; turn logits into their derivative."""
    batch, classes = logits.shape
    count, one = logits.dtype.type(batch), logits.dtype.type(1)
    loss, right = 0.0, 0
    for b in range(batch):
        row, y = logits[b], labels[b]
        if classes == 1:
            logit = row[0]
            right += (logit > 0) == (y == 1)
            loss += max(logit, logit * 0) - logit * y + np.log1p(np.exp(-abs(logit)))
            row[0] = (sigmoid(logit) - y) / count
            continue
        best = 0
        for c in range(1, classes):
            if row[c] > row[best]:
                best = c
        right += best == y
        chosen = row[y]
        loss += raise_to_shares(row) - chosen
        row[y] -= one
        for c in range(classes):
            row[c] /= count
    return loss / batch, right


@jit
def head_backward(
    d_logits: Any, last: Any, weight: Any, d_weight: Any, d_bias: Any, d_last: Any
) -> None:
    """Write the derivatives by the head's weights and by its input, sums in order of the batch."""
    d_weight[:] = 0
    d_bias[:] = 0
    d_last[:] = 0
    for b in range(len(last)):
        for c in range(len(d_bias)):
            d_bias[c] += d_logits[b, c]
            for j in range(last.shape[1]):
                d_weight[c, j] += d_logits[b, c] * last[b, j]
                d_last[b, j] += d_logits[b, c] * weight[c, j]


@jit
def adam(
    parameters: Any, gradients: Any, means: Any, squares: Any, alpha: Any, settings: Any
) -> None:
    """Move parameters as ``grulight.optim.KerasAdam`` does, operation by operation."""
    new, new_square, epsilon, decay, lr = settings
    for i in range(parameters.size):
        if decay:
            parameters[i] -= parameters[i] * decay * lr
        gradient = gradients[i]
        means[i] += (gradient - means[i]) * new
        squares[i] += (gradient * gradient - squares[i]) * new_square
        parameters[i] -= means[i] * alpha / (np.sqrt(squares[i]) + epsilon)


@jit
def gather(values: Any, lengths: Any, labels: Any, chosen: Any) -> Any:
    """Return a batch: values, lengths and labels."""
    batch, steps, inputs = len(chosen), values.shape[1], values.shape[2]
    x = np.empty((batch, steps, inputs), values.dtype)
    lens, y = np.full(batch, steps), np.empty(batch, np.int64)
    source, into, size = values.ravel(), x.ravel(), steps * inputs
    for b in range(batch):
        n = chosen[b]
        y[b] = labels[n]
        if lengths.size:
            lens[b] = lengths[n]
        copy(source, n * size, into, b * size, size)
    return x, lens, y


@compiled
def train(
    parameters: Any, means: Any, squares: Any, alphas: Any, settings: Any, inputs: int, hidden: int,
    gru_bias: bool, values: Any, lengths: Any, labels: Any, order: Any, starts: Any,
    losses: Any, rights: Any,
) -> None:  # fmt: skip
    """Take one step of Adam for each batch; see ``grulight.kernels.steps``.

    Args:
        parameters: Of a GRUNet, flat, in its order; moved in place.
        means: Adam's, moved in place; like ``squares``.
        squares: Adam's.
        alphas: Adam's corrected learning rate for each step.
        settings: 1 - beta1, 1 - beta2, epsilon, weight decay, learning rate.
        inputs: I.
        hidden: H.
        gru_bias: Whether the GRU has biases.
        values: (N, T, I).
        lengths: (N,), or empty where all steps are valid.
        labels: (N,).
        order: The sequences of all batches, one batch after the other.
        starts: Where in ``order`` each batch starts, and where the last one ends.
        losses: Mean loss of each batch, written here.
        rights: Correct answers of each batch, written here.
    """
    kind, steps, gates = values.dtype, values.shape[1], 3 * hidden
    edges = np.cumsum(
        np.array([0, gates * inputs, gates * hidden, gates * gru_bias, gates * gru_bias])
    )
    rest = parameters[edges[4] :]
    classes = rest.size // (hidden + 1)
    w_ih = parameters[: edges[1]].reshape(gates, inputs)
    w_hh = parameters[edges[1] : edges[2]].reshape(gates, hidden)
    b_ih, b_hh = parameters[edges[2] : edges[3]], parameters[edges[3] : edges[4]]
    weight, bias = rest[: classes * hidden].reshape(classes, hidden), rest[classes * hidden :]
    p, most = padded(hidden, values.itemsize), np.max(starts[1:] - starts[:-1])
    tapes = np.empty(most * (5 * steps + 1) * p, kind)
    gradients = np.empty(parameters.size, kind)
    d_head = gradients[edges[4] :]
    d_weight = d_head[: classes * hidden].reshape(classes, hidden)
    no_states, (first, reverse) = np.empty((0, 0, 0), kind), plain()
    for step in range(len(alphas)):
        chosen = order[starts[step] : starts[step + 1]]
        batch = len(chosen)
        x, lens, y = gather(values, lengths, labels, chosen)
        by_length = longest_first(lens, steps)
        h0, last = np.zeros((batch, hidden), kind), np.empty((batch, hidden), kind)
        logits, d_last = np.empty((batch, classes), kind), np.empty((batch, hidden), kind)
        forward(x, h0, lens, by_length, reverse, w_ih, w_hh, b_ih, b_hh,
                tapes, no_states, last, first, batch)  # fmt: skip
        label(last, weight, bias, logits)
        losses[step], rights[step] = loss_backward(logits, y)
        head_backward(logits, last, weight, d_weight, d_head[classes * hidden :], d_last)
        share = blocks_per_group(batch) * BLOCK
        groups = (batch + share - 1) // share
        partial, d_bias = (
            np.zeros((groups, 3 * (inputs + hidden) * p), kind),
            np.zeros((groups, 4 * p)),
        )
        backward(x, lens, by_length, reverse, w_ih, w_hh, tapes, no_states, d_last, no_states, h0,
                 partial, d_bias, first, groups)  # fmt: skip
        total(partial, d_bias, inputs, hidden, gru_bias, gradients)
        adam(parameters, gradients, means, squares, alphas[step], settings)
