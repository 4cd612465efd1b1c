"""Any number of GRU layers in one direction or both, forward and backward, with their dropout.

Legend: B batch, T time, I input, H hidden, W = H per direction together, L layers, P padded H.
Weights are flat, in the order of ``nn.GRU``. A level is what a layer hands on, (B, T, W).
"""

from typing import Any

import numpy as np

from grulight.kernels.numba_cache import jit
from grulight.kernels.numba_cpu import backward, forward, group_of, total
from grulight.kernels.numba_weights import padded


@jit
def layer_at(sizes: Any, layer: int, way: int) -> Any:
    """Return where a layer's weights in one direction start, and how many numbers it reads.

    ``sizes`` are I, H, L, directions, and 1 where there are biases.
    """
    inputs, hidden, _, ways, bias = sizes
    gates, wide = 3 * hidden, ways * hidden
    if layer == 0:
        return way * gates * (inputs + hidden + 2 * bias), inputs
    first = ways * gates * (inputs + hidden + 2 * bias)
    return first + ((layer - 1) * ways + way) * gates * (wide + hidden + 2 * bias), wide


@jit
def weights_at(parameters: Any, sizes: Any, start: int, inputs: int) -> Any:
    """Return W_ih, W_hh, b_ih and b_hh as they lie in flat parameters."""
    hidden, bias = sizes[1], sizes[4]
    gates = 3 * hidden
    second = start + gates * inputs
    third = second + gates * hidden
    fourth = third + gates * bias
    return (
        parameters[start:second].reshape(gates, inputs),
        parameters[second:third].reshape(gates, hidden),
        parameters[third:fourth],
        parameters[fourth : fourth + gates * bias],
    )


@jit
def columns(states: Any, lens: Any, way: int, level: Any, back: bool) -> None:
    """Copy one direction's states (B, T, H) to its columns of a level; ``back`` copies from it."""
    hidden = states.shape[2]
    for b in range(len(lens)):
        for t in range(lens[b]):
            for j in range(hidden):
                if back:
                    states[b, t, j] = level[b, t, way * hidden + j]
                else:
                    level[b, t, way * hidden + j] = states[b, t, j]


@jit
def drop(level: Any, lens: Any, noise: Any, at: int, by_step: int, by_sequence: int) -> None:
    """Multiply what is valid of a level by its noise, which starts at a place."""
    for b in range(len(lens)):
        for t in range(lens[b]):
            place = at + t * by_step + b * by_sequence
            for j in range(level.shape[2]):
                level[b, t, j] *= noise[place + j]


@jit
def level_of(levels: Any, layer: int, batch: int, steps: int, wide: int) -> Any:
    """Return what a layer hands on, as it lies in all levels."""
    size = batch * steps * wide
    return levels[layer * size : (layer + 1) * size].reshape(batch, steps, wide)


@jit
def drop_between(level: Any, lens: Any, longest: int, noise: Any, layer: int) -> None:
    """Drop between layers: torch draws this noise with time first, (T, B, W), layer by layer."""
    batch, wide = len(lens), level.shape[2]
    drop(level, lens, noise, layer * longest * batch * wide, batch * wide, wide)


@jit
def forward_stack(
    parameters: Any, sizes: Any, x: Any, lens: Any, order: Any, tapes: Any, levels: Any,
    noise: Any, between: bool, last: Any,
) -> None:  # fmt: skip
    """Read sequences (B, T, I) with every layer; write tapes, levels and the last states (B, W).

    Args:
        parameters: Flat.
        sizes: See ``layer_at``.
        x: The sequences.
        lens: (B,) valid steps.
        order: (B,) the sequences by falling length.
        tapes: Of each layer and direction, one after the other.
        levels: Of the layers below the top; and of the top one where it is read step by step.
        noise: What dropout multiplies by, the part between layers first.
        between: Whether it is there.
        last: Written here, of the top layer.
    """
    _, hidden, layers, ways, _ = sizes
    batch, steps, wide, kind = x.shape[0], x.shape[1], ways * hidden, x.dtype
    tape_size = batch * (5 * steps + 1) * padded(hidden, x.itemsize)
    count = levels.size // (batch * steps * wide)
    h0, final, start = np.zeros((batch, hidden), kind), np.empty((batch, hidden), kind), np.int64(0)
    states = np.empty((batch if count else 0, steps, hidden), kind)
    for layer in range(layers):
        kept = states if layer < count else states[:0]
        for way in range(ways):
            at, inputs = layer_at(sizes, layer, way)
            w_ih, w_hh, b_ih, b_hh = weights_at(parameters, sizes, at, inputs)
            tape = tapes[(layer * ways + way) * tape_size :][:tape_size]
            forward(x, h0, lens, order, way == 1, w_ih, w_hh, b_ih, b_hh,
                    tape, kept, final, start, batch)  # fmt: skip
            if layer < count:
                columns(kept, lens, way, level_of(levels, layer, batch, steps, wide), False)
            if layer + 1 == layers:
                for b in range(batch):
                    for j in range(hidden):
                        last[b, way * hidden + j] = final[b, j]
        if layer + 1 < layers:
            x = level_of(levels, layer, batch, steps, wide)
            if between:
                drop_between(x, lens, lens[order[0]], noise, layer)


@jit
def backward_stack(
    parameters: Any, sizes: Any, x: Any, lens: Any, order: Any, tapes: Any, levels: Any,
    noise: Any, between: bool, d_level: Any, d_last: Any, gradients: Any,
) -> None:  # fmt: skip
    """Undo ``forward_stack``: write the derivatives by the GRU's weights.

    Args:
        parameters: As in ``forward_stack``, like the arguments that follow up to ``between``.
        sizes: Of the layers.
        x: (B, T, I).
        lens: (B,).
        order: (B,).
        tapes: Written by ``forward_stack``, like the levels.
        levels: Of the layers.
        noise: Of dropout.
        between: Whether there is some between layers.
        d_level: Derivative by the top layer's states (B, T, W); empty for zero.
        d_last: Derivative by its last states (B, W); empty for zero.
        gradients: Flat, written here.
    """
    _, hidden, layers, ways, _ = sizes
    batch, steps, wide, kind = x.shape[0], x.shape[1], ways * hidden, x.dtype
    tape_size = batch * (5 * steps + 1) * padded(hidden, x.itemsize)
    h0 = np.zeros((batch, hidden), kind)
    d_final = np.empty((batch if d_last.size else 0, hidden), kind)
    for layer in range(layers - 1, -1, -1):
        read = level_of(levels, layer - 1, batch, steps, wide) if layer else x
        d_below = np.zeros((batch if layer else 0, steps, wide), kind)
        d_states = np.empty((batch if d_level.size else 0, steps, hidden), kind)
        for way in range(ways):
            for b in range(len(d_final)):
                for j in range(hidden):
                    d_final[b, j] = d_last[b, way * hidden + j]
            if d_level.size:
                columns(d_states, lens, way, d_level, True)
            d_x = np.zeros(d_below.shape, kind)
            tape = tapes[(layer * ways + way) * tape_size :][:tape_size]
            backward_layer(parameters, sizes, layer, way, read, lens, order, tape,
                           d_states, d_final, d_x, h0, gradients)  # fmt: skip
            add(d_x, d_below)
        d_level, d_final = d_below, d_final[:0]
        if layer and between:
            drop_between(d_level, lens, lens[order[0]], noise, layer - 1)


@jit
def add(source: Any, into: Any) -> None:
    """Add an array to another."""
    numbers, sums = source.ravel(), into.ravel()
    for i in range(numbers.size):
        sums[i] += numbers[i]


@jit
def backward_layer(
    parameters: Any, sizes: Any, layer: int, way: int, x: Any, lens: Any, order: Any, tape: Any,
    d_states: Any, d_last: Any, d_x: Any, d_h0: Any, gradients: Any,
) -> None:  # fmt: skip
    """Undo a layer in one direction; write its part of the gradients."""
    hidden, batch, p = sizes[1], len(x), padded(sizes[1], x.itemsize)
    at, inputs = layer_at(sizes, layer, way)
    w_ih, w_hh, _, _ = weights_at(parameters, sizes, at, inputs)
    share = group_of(batch)
    groups, first = (batch + share - 1) // share, np.int64(0)
    partial = np.zeros((groups, 3 * (inputs + hidden) * p), x.dtype)
    d_bias = np.zeros((groups, 4 * p))
    backward(x, lens, order, way == 1, w_ih, w_hh, tape, d_states, d_last, d_x, d_h0,
             partial, d_bias, first, groups)  # fmt: skip
    total(partial, d_bias, inputs, hidden, sizes[4] == 1, gradients[at:])
