"""The GRU compiled by Numba, forward and backward: deterministic and batch-invariant.

Equations: ``grulight.kernels.reference``. One sequence gives the same bits in any batch, at any
place, on any thread (``numba_simd`` says why). Sums over sequences are taken step by step within
blocks of ``BLOCK`` sequences, block by block within groups that depend on the size of the batch
alone, and then group by group.

Legend: B batch, T time, I input, H hidden, P = H padded to whole vectors, S sequences of a block,
G = 3H stacked gates in torch's order r, z, n. A slot is S rows of P: the state h, the gates n, r,
z, and c, the recurrent share of n. In this order they make a step, T steps and an h make a tape.
Arrays that only kernels see are flat.
"""

from typing import Any

import numpy as np

from grulight.kernels import sizes
from grulight.kernels.numba_cache import BOUNDSCHECK, compiled, counted, jit
from grulight.kernels.numba_gates import cell
from grulight.kernels.numba_simd import product_of, reach
from grulight.kernels.numba_weights import copy, in_strips, pack, pack_backward
from grulight.kernels.sizes import BLOCK, VECTOR

group_of = counted(sizes.group_of)
N, R, Z, C = 1, 2, 3, 4  # slots of a step; h is slot 0

shares_of_input = product_of(False, False, False)  # of n, r, z
shares_of_state = product_of(True, True, False)  # of r and z, and c
onto_one, onto_three = product_of(True), product_of(True, True, True)


@jit
def read(x: Any, p: int, lengths: Any, order: Any, reverse: bool, into: Any) -> None:
    """Copy the step that is p-th to be read by each sequence of ``order`` into rows (S, I)."""
    inputs = x.shape[2]
    for s in range(order.size):
        b = order[s]
        t = lengths[b] - 1 - p if reverse else p
        for i in range(inputs):
            into[s * inputs + i] = x[b, t, i]


@jit
def forward_block(
    x: Any, h0: Any, lengths: Any, order: Any, reverse: bool, packed: Any,
    tape: Any, keep: bool, out: Any, last: Any,
) -> None:  # fmt: skip
    """Read the sequences of ``order``, longest first; without ``keep`` two steps of tape do."""
    rows, inputs, hidden = order.size, x.shape[2], h0.shape[1]
    by_input, by_state, bias = packed
    p, lanes = bias.size // 4, VECTOR // x.itemsize
    slot, of_input, of_state = rows * p, 3 * inputs * lanes, 3 * hidden * lanes
    zero, one = np.int64(0), np.int64(1)  # each literal would be compiled for itself
    xs = np.empty(rows * inputs, x.dtype)
    for i in range(slot):
        tape[i] = 0
    states = h0.ravel()
    for s in range(rows):
        copy(states, order[s] * hidden, tape, s * p, hidden)
    active = rows
    for step in range(lengths[order[0]]):
        while lengths[order[active - 1]] <= step:
            active -= 1
        at = (step if keep else step % 2) * 5 * slot
        ahead = (step + 1 if keep else (step + 1) % 2) * 5 * slot
        read(x, step, lengths, order[:active], reverse, xs)
        shares_of_input(tape, at + N * slot, p, slot, lanes, xs, zero, inputs, one,
                        by_input, zero, 3 * lanes, lanes, of_input, active, p, inputs)  # fmt: skip
        shares_of_state(tape, at + R * slot, p, slot, lanes, tape, at, p, one,
                        by_state, zero, 3 * lanes, lanes, of_state, active, p, hidden)  # fmt: skip
        if BOUNDSCHECK:
            reach(tape, at + C * slot + active * p - 1)
            reach(tape, ahead + active * p - 1)
            reach(bias, 4 * p - 1)
        cell(tape, at, slot, active, p, bias, ahead)
        for s in range(active):
            b = order[s]
            if out.size:
                t = lengths[b] - 1 - step if reverse else step
                for j in range(hidden):
                    out[b, t, j] = tape[ahead + s * p + j]
            if step + 1 == lengths[b]:
                for j in range(hidden):
                    last[b, j] = tape[ahead + s * p + j]


@jit
def forward_blocks(
    x: Any, h0: Any, lengths: Any, order: Any, reverse: bool, packed: Any,
    tape: Any, out: Any, last: Any, start: int, stop: int,
) -> None:  # fmt: skip
    """Read sequences ``order[start:stop]`` with packed weights; see ``forward``."""
    p = packed[2].size // 4
    per_sequence = (5 * x.shape[1] + 1) * p
    keep = tape.size > 0
    scratch = np.empty(0 if keep else 10 * min(BLOCK, stop - start) * p, x.dtype)
    for first in range(start, stop, BLOCK):
        end = min(first + BLOCK, stop)
        mine = tape[first * per_sequence : end * per_sequence] if keep else scratch
        forward_block(x, h0, lengths, order[first:end], reverse, packed, mine, keep, out, last)


@compiled
def forward(
    x: Any, h0: Any, lengths: Any, order: Any, reverse: bool,
    w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any,
    tape: Any, out: Any, last: Any, start: int, stop: int,
) -> None:  # fmt: skip
    """Read sequences ``order[start:stop]``; ``start`` is a multiple of ``BLOCK``.

    Args:
        x: Padded sequences (B, T, I).
        h0: Initial states (B, H).
        lengths: Valid steps (B,), at least one each.
        order: The sequences by falling length (B,).
        reverse: Read from the last valid step to the first.
        w_ih: (G, I), as ``nn.GRU`` has it, like the three that follow.
        w_hh: (G, H).
        b_ih: (G,), or empty.
        b_hh: (G,), or empty.
        tape: What ``backward`` needs (B (5 T + 1) P,), written here; empty if it is not needed.
        out: States after each step (B, T, H), written where valid; empty if they are not needed.
        last: Last states (B, H), written here.
        start: First sequence.
        stop: One past the last sequence.
    """
    packed = pack(w_ih, w_hh, b_ih, b_hh)
    forward_blocks(x, h0, lengths, order, reverse, packed, tape, out, last, start, stop)


@jit
def cell_backward(tape: Any, at: int, slot: int, used: int, d_tape: Any) -> None:
    """Turn the derivative by the new states into those by the shares and, but for them, by h."""
    h, n, r = tape[at : at + used], tape[at + N * slot :], tape[at + R * slot :]
    z, c = tape[at + Z * slot :], tape[at + C * slot :]
    d_h, d_n, d_r = d_tape[:used], d_tape[N * slot :], d_tape[R * slot :]
    d_z, d_c = d_tape[Z * slot :], d_tape[C * slot :]
    one = h.dtype.type(1)
    for i in range(used):
        d_z[i] = d_h[i] * (h[i] - n[i]) * (z[i] * (one - z[i]))
    for i in range(used):
        d_n[i] = d_h[i] * (one - z[i]) * (one - n[i] * n[i])
    for i in range(used):
        d_r[i] = d_n[i] * c[i] * (r[i] * (one - r[i]))
    for i in range(used):
        d_c[i] = d_n[i] * r[i]
    for i in range(used):
        d_h[i] *= z[i]


@jit
def backward_block(
    x: Any, lengths: Any, order: Any, reverse: bool, packed: Any, tape: Any,
    d_out: Any, d_last: Any, d_x: Any, d_h0: Any, sums: Any, d_bias: Any,
) -> None:  # fmt: skip
    """Undo ``forward_block``: write derivatives of sequences, add those of weights."""
    rows, inputs, hidden = order.size, x.shape[2], d_h0.shape[1]
    by_input, by_state, wide, p = packed
    slot, lanes = rows * p, VECTOR // x.itemsize
    zero, one = np.int64(0), np.int64(1)  # each literal would be compiled for itself
    xs, d_xs = np.empty(rows * inputs, x.dtype), np.empty(rows * wide, x.dtype)
    d_tape = np.zeros(5 * slot, x.dtype)
    ones, of_step = np.ones(rows, x.dtype), np.empty(4 * p, x.dtype)
    if d_last.size:
        pulls = d_last.ravel()
        for s in range(rows):
            copy(pulls, order[s] * hidden, d_tape, s * p, hidden)
    active = 0
    for step in range(lengths[order[0]] - 1, -1, -1):
        while active < rows and lengths[order[active]] > step:
            active += 1
        at = step * 5 * slot
        if d_out.size:
            for s in range(active):
                b = order[s]
                t = lengths[b] - 1 - step if reverse else step
                for j in range(hidden):
                    d_tape[s * p + j] += d_out[b, t, j]
        cell_backward(tape, at, slot, active * p, d_tape)
        for gate in range(3):
            onto_one(d_tape, zero, p, zero, lanes, d_tape, (gate + 2) * slot, p, one,
                     by_state, gate * hidden * p, lanes, zero, hidden * lanes,
                     active, p, hidden)  # fmt: skip
        if d_x.size:
            d_xs[:] = 0
            for gate in range(3):
                onto_one(d_xs, zero, wide, zero, lanes, d_tape, (gate + 1) * slot, p, one,
                         by_input, gate * hidden * wide, lanes, zero, hidden * lanes,
                         active, wide, hidden)  # fmt: skip
            for s in range(active):
                b = order[s]
                t = lengths[b] - 1 - step if reverse else step
                for i in range(inputs):
                    d_x[b, t, i] = d_xs[s * wide + i]
        read(x, step, lengths, order[:active], reverse, xs)
        onto_three(sums, zero, 3 * lanes, lanes, 3 * inputs * lanes, xs, zero, one, inputs,
                   d_tape, N * slot, p, slot, lanes, inputs, p, active)  # fmt: skip
        onto_three(sums, 3 * inputs * p, 3 * lanes, lanes, 3 * hidden * lanes, tape, at, one, p,
                   d_tape, R * slot, p, slot, lanes, hidden, p, active)  # fmt: skip
        for i in range(4 * p):
            of_step[i] = 0
        for gate in range(4):
            onto_one(of_step, gate * p, zero, zero, lanes, ones, zero, zero, one,
                     d_tape, (gate + 1) * slot, p, zero, lanes, one, p, active)  # fmt: skip
        for i in range(4 * p):
            d_bias[i] += of_step[i]
    for s in range(rows):
        for j in range(hidden):
            d_h0[order[s], j] = d_tape[s * p + j]


@compiled
def backward(
    x: Any, lengths: Any, order: Any, reverse: bool, w_ih: Any, w_hh: Any, tape: Any,
    d_out: Any, d_last: Any, d_x: Any, d_h0: Any, partial: Any, biases: Any,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Undo ``forward`` for groups ``start`` to ``stop`` of sequences.

    Args:
        x: As in ``forward``, like the arguments that follow up to ``tape``.
        lengths: (B,).
        order: (B,).
        reverse: The direction.
        w_ih: (G, I).
        w_hh: (G, H).
        tape: Written by ``forward``.
        d_out: Derivative by the states (B, T, H); empty for zero.
        d_last: Derivative by the last states (B, H); empty for zero.
        d_x: Derivative by x, zero at first, written where valid; empty if it is not needed.
        d_h0: Derivative by the initial states (B, H), written here.
        partial: Each group's derivative by the weights, zero at first: (groups, 3 (I + H) P).
        biases: Each group's derivative by the biases, zero at first, float64 for such long sums:
            (groups, 4 P).
        start: First group.
        stop: One past the last group.
    """
    batch = len(x)
    packed = pack_backward(w_ih, w_hh)
    per_sequence = (5 * x.shape[1] + 1) * packed[3]
    size = group_of(batch)
    for group in range(start, stop):
        for first in range(group * size, min((group + 1) * size, batch), BLOCK):
            end = min(first + BLOCK, batch)
            mine = tape[first * per_sequence : end * per_sequence]
            backward_block(x, lengths, order[first:end], reverse, packed, mine,
                           d_out, d_last, d_x, d_h0, partial[group], biases[group])  # fmt: skip


@compiled
def total(partial: Any, biases: Any, inputs: int, hidden: int, has_bias: bool, into: Any) -> None:
    """Add the groups' sums, in order, and lay them out flat as w_ih, w_hh, b_ih, b_hh."""
    for group in range(1, len(partial)):
        for i in range(partial.shape[1]):
            partial[0, i] += partial[group, i]
        for i in range(biases.shape[1]):
            biases[0, i] += biases[group, i]
    sums, gates, p = partial[0], 3 * hidden, biases.shape[1] // 4
    zero, yes = np.int64(0), np.bool_(True)  # each literal would be compiled for itself
    for gate in range(3):
        band, at = (gate + 1) % 3, gate * hidden
        in_strips(into, at * inputs, band, hidden, inputs, sums, zero, yes)
        in_strips(into, gates * inputs + at * hidden, gate, hidden, hidden,
                  sums, 3 * inputs * p, yes)  # fmt: skip
        for j in range(hidden if has_bias else 0):
            at = gates * (inputs + hidden) + gate * hidden + j
            into[at] = biases[0, band * p + j]
            into[at + gates] = biases[0, (gate + 1) * p + j]
