"""Steps of training a whole GRUNet in one compiled call.

Legend: N sequences at hand, B batch, T time, I input, W the GRU's answer, M answers, C numbers in
one, R targets.
"""

from typing import Any

import numpy as np

from grulight.kernels.numba_cache import compiled, jit
from grulight.kernels.numba_head import head_backward, linear, loss_backward
from grulight.kernels.numba_network import longest_first
from grulight.kernels.numba_stack import backward_stack, drop, forward_stack
from grulight.kernels.numba_update import clip, clip_variables, summed, update
from grulight.kernels.numba_weights import copy, padded


@jit
def gather(values: Any, lengths: Any, chosen: Any) -> Any:
    """Return a batch: values and lengths."""
    batch, steps, inputs = len(chosen), values.shape[1], values.shape[2]
    x = np.empty((batch, steps, inputs), values.dtype)
    lens = np.full(batch, steps)
    source, into, size = values.ravel(), x.ravel(), steps * inputs
    for b in range(batch):
        n = chosen[b]
        if lengths.size:
            lens[b] = lengths[n]
        copy(source, n * size, into, b * size, size)
    return x, lens


@jit
def answered(chosen: Any, begins: Any, lens: Any, per_step: bool) -> Any:
    """Return whose targets a batch's answers have: rows (M,), in order of sequences and steps."""
    if not per_step:
        return begins[chosen]
    rows, m = np.empty(np.sum(lens), np.int64), 0
    for b in range(len(chosen)):
        for t in range(lens[b]):
            rows[m] = begins[chosen[b]] + t
            m += 1
    return rows


@jit
def of_valid_steps(padded_states: Any, lens: Any, rows: Any, back: bool) -> None:
    """Copy states (B, T, H) of valid steps to rows (M, H); ``back`` copies the other way."""
    m = 0
    for b in range(len(lens)):
        for t in range(lens[b]):
            for j in range(rows.shape[1]):
                if back:
                    padded_states[b, t, j] = rows[m, j]
                else:
                    rows[m, j] = padded_states[b, t, j]
            m += 1


@jit
def multiply(rows: Any, noise: Any, at: int) -> None:
    """Multiply rows by their noise, which starts at a place; by nothing where there is none."""
    if noise.size > at:
        flat = rows.ravel()
        for i in range(flat.size):
            flat[i] *= noise[at + i]


@compiled
def train(
    parameters: Any, slots: Any, edges: Any, groups: Any, variables: Any, rule: int, rows: Any,
    limits: Any,
    sizes: Any, answer: int, per_step: bool, smoothing: Any, scale: Any,
    values: Any, lengths: Any, begins: Any, classes: Any, numbers: Any, weights: Any,
    order: Any, starts: Any, noise: Any, noise_starts: Any, between: bool,
    losses: Any, metrics: Any,
) -> None:  # fmt: skip
    """Take a step of the optimiser for each batch or several; see ``grulight.kernels.steps``.

    Args:
        parameters: Of a GRUNet, flat, in its order; moved in place.
        slots: The three moments of ``numba_update.update``, and the sum of gradients that have
            moved nothing yet; moved in place, like ``parameters``.
        edges: Where each parameter starts, and where the last one ends.
        groups: The row of each parameter; below zero for one that stays.
        variables: Which of Keras' variables each parameter is a part of; below zero for none.
        rule: Of ``numba_update``.
        rows: (batches, groups, COLUMNS), its settings.
        limits: Gradients' largest norm, largest value, and largest norm of a variable's; 0 for
            none.
        sizes: I, H, layers, directions, and 1 where the GRU has biases.
        answer: Which kind of answers, of ``numba_head``.
        per_step: Whether there is one for each step.
        smoothing: Of classes and labels; of the parameters' type.
        scale: (C,) what a unit of each value stands for.
        values: (N, T, I).
        lengths: (N,), or empty where all steps are valid.
        begins: (N,) at which row of those that follow a sequence's targets begin.
        classes: (R,), one for each sequence or for each valid step; empty where there are numbers.
        numbers: (R, C) labels or values, likewise.
        weights: (R,) by which each loss is multiplied; empty for 1.
        order: The sequences of all batches, one batch after the other.
        starts: Where in ``order`` each batch starts, and where the last one ends.
        noise: What dropout multiplies by, batch by batch: between layers (layer, T, B, W), then
            before the head (B, W) or (B, T, W), T the longest of the batch; empty for 1.
        noise_starts: Where each batch's starts, and where the last one ends.
        between: Whether there is some between layers.
        losses: Mean loss of each batch, written here.
        metrics: Sum of each batch's metric, written here.
    """
    kind, steps = values.dtype, values.shape[1]
    _, hidden, layers, ways, _ = sizes
    wide, recurrent = ways * hidden, edges[-3]
    head, outputs = parameters[recurrent:], edges[-1] - edges[-2]
    weight, bias = head[: outputs * wide].reshape(outputs, wide), head[outputs * wide :]
    first, second, third, sums = slots
    most = np.max(starts[1:] - starts[:-1])
    tapes = np.empty(layers * ways * most * (5 * steps + 1) * padded(hidden, values.itemsize), kind)
    levels = np.empty((layers - 1 + per_step) * most * steps * wide, kind)
    gradients, none = np.empty(parameters.size, kind), np.empty((0, 0), kind)
    d_head = gradients[recurrent:]
    d_weight = d_head[: outputs * wide].reshape(outputs, wide)
    for step in range(len(rows)):
        chosen = order[starts[step] : starts[step + 1]]
        batch = len(chosen)
        x, lens = gather(values, lengths, chosen)
        by_length = longest_first(lens, steps)
        longest = lens[by_length[0]]
        mine = noise[noise_starts[step] : noise_starts[step + 1]]
        at = (layers - 1) * longest * batch * wide if between else 0
        held, read = levels[: levels.size // most * batch], np.empty((batch, wide), kind)
        forward_stack(parameters, sizes, x, lens, by_length, tapes, held, mine, between, read)
        answering = answered(chosen, begins, lens, per_step)
        top = held[held.size - batch * steps * wide * per_step :]
        top = top.reshape(batch * per_step, steps, wide)
        if per_step:
            if mine.size > at:
                drop(top, lens, mine, at, wide, longest * wide)
            read = np.empty((len(answering), wide), kind)
            of_valid_steps(top, lens, read, False)
        else:
            multiply(read, mine, at)
        logits, d_read = np.empty((len(read), outputs), kind), np.empty(read.shape, kind)
        linear(read, weight, bias, logits)
        losses[step], metrics[step] = loss_backward(
            logits, answering, classes, numbers, weights, answer, smoothing, scale
        )
        head_backward(logits, read, weight, d_weight, d_head[outputs * wide :], d_read)
        d_last = none
        if per_step:
            of_valid_steps(top, lens, d_read, True)
            if mine.size > at:
                drop(top, lens, mine, at, wide, longest * wide)
        else:
            multiply(d_read, mine, at)
            d_last = d_read
        backward_stack(parameters, sizes, x, lens, by_length, tapes, held, mine, between,
                       top, d_last, gradients)  # fmt: skip
        if summed(gradients, sums, rows[step, 0]):
            continue
        clip(gradients, edges, groups, limits[0], limits[1])
        clip_variables(gradients, edges, variables, limits[2])
        update(parameters, gradients, first, second, third, edges, groups, rule, rows[step])
