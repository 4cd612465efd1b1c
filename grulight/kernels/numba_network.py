"""A whole GRUNet of one layer in one compiled call: predictions, and steps of training.

Legend: N sequences at hand, B batch, T time, I input, H hidden, C logits.
"""

from typing import Any

import numpy as np

from grulight.kernels.numba_cpu import (
    BLOCK,
    backward,
    blocks_per_group,
    copy,
    forward,
    padded,
    total,
)
from grulight.kernels.numba_gates import sigmoid
from grulight.kernels.numba_simd import compiled, jit


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


@compiled
def predict(
    values: Any, lengths: Any, mean: Any, scale: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any,
    weight: Any, bias: Any, probabilities: Any,
) -> None:  # fmt: skip
    """Write class probabilities (B, classes) of raw sequences; one logit tells two classes apart.

    Args:
        values: Padded sequences (B, T, I).
        lengths: Valid steps (B,), or empty where all are valid.
        mean: Taken off first (I,), or empty.
        scale: Divided by then (I,), or empty.
        w_ih: (3H, I), as ``nn.GRU`` has it, like the three that follow.
        w_hh: (3H, H).
        b_ih: (3H,), or empty.
        b_hh: (3H,), or empty.
        weight: The head's (C, H).
        bias: The head's (C,).
        probabilities: Written here.
    """
    batch, steps, inputs = values.shape
    kind, hidden = values.dtype, w_hh.shape[1]
    if mean.size:
        standard = np.empty((batch, steps, inputs), kind)
        for b in range(batch):
            for t in range(steps):
                for i in range(inputs):
                    standard[b, t, i] = (values[b, t, i] - mean[i]) / scale[i]
        values = standard
    if lengths.size == 0:
        lengths = np.full(batch, steps)
    last, none = np.empty((batch, hidden), kind), np.empty(0, kind)
    order = longest_first(lengths, steps)
    first, reverse = plain()
    h0 = np.zeros((batch, hidden), kind)
    forward(values, h0, lengths, order, reverse, w_ih, w_hh, b_ih, b_hh,
            none, np.empty((0, 0, 0), kind), last, first, batch)  # fmt: skip
    if len(bias) > 1:
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
