"""Steps of training GRUNets on a GPU, one program for each network; ``triton_training`` says how.

What a program writes and reads again (the tape of the forward pass, gradients, parameters) goes
through memory, where it stays in the caches nearest to the program. Another thread may read it than
wrote it, so that a barrier stands between: it also orders the program's accesses to memory.

Legend: that of ``triton_kernels``; C numbers of an answer; P steps of a tile's longest sequence.
``tape`` is (P, 5, B, H): state before a step, r, z, n, c.
"""

# the kernels' arguments are Triton's, which has no types for them
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: ANN001, ANN201

import triton
import triton.language as tl

from grulight.kernels.triton_head_kernels import EXACT, answer, load_head
from grulight.kernels.triton_kernels import (
    back3,
    dot,
    load3,
    load_bias,
    product3,
    sigmoid,
    tanh,
)
from grulight.kernels.triton_update_kernels import COLUMNS, sum_squares, update


@triton.jit
def load_step(x_at, p, length, i, INPUTS: tl.constexpr):
    """Return the inputs of a step (B, I), zero where it is none, and a one that the biases meet."""
    inside = (p < length) & (i[None, :] < INPUTS)
    x = tl.load(x_at + p * INPUTS + i[None, :], mask=inside, other=0.0)
    return tl.where(i[None, :] == INPUTS, 1.0, x)


@triton.jit
def load_by_input(w_ih, bias, i, j, INPUTS: tl.constexpr, HIDDEN: tl.constexpr):
    """Return tiles (I, J) of W_ih of r, z and n, and behind the inputs their biases."""
    r, z, n = load3(w_ih, i, j, INPUTS, HIDDEN)
    last = i[:, None] == INPUTS
    return tl.where(last, bias[0], r), tl.where(last, bias[1], z), tl.where(last, bias[2], n)


@triton.jit
def forward_tile(x_at, length, longest, tape, v, u, b_c, INPUTS: tl.constexpr):
    """Read a tile of sequences; return their last states (B, H), and fill the tape."""
    rows: tl.constexpr = length.shape[0]
    width: tl.constexpr = u[0].shape[1]
    i = tl.arange(0, v[0].shape[0])
    slot: tl.constexpr = rows * width
    at = tape + tl.arange(0, rows)[:, None] * width + tl.arange(0, width)[None, :]
    h = tl.full((rows, width), 0.0, tl.float32)
    zeros = h
    x = load_step(x_at, 0, length, i, INPUTS)
    for p in range(longest):
        ahead = load_step(x_at, p + 1, length, i, INPUTS)  # arrives while this step is computed
        r, z, a = product3(x, v, zeros, zeros, zeros, EXACT)
        r, z, c = product3(h, u, r, z, zeros, EXACT)
        r, z, c = sigmoid(r), sigmoid(z), c + b_c
        n = tanh(a + r * c)
        tl.store(at, h)
        tl.store(at + slot, r)
        tl.store(at + 2 * slot, z)
        tl.store(at + 3 * slot, n)
        tl.store(at + 4 * slot, c)
        h = tl.where(p < length, z * (h - n) + n, h)
        at += 5 * slot
        x = ahead
    return h


@triton.jit
def add(at, values, inside, again):
    """Store values, or add them to what is there from a tile before."""
    if again:
        values += tl.load(at, mask=inside, other=0.0)
    tl.store(at, values, mask=inside)


@triton.jit
def add3(into, r, z, n, k, j, again, WIDTH: tl.constexpr, HIDDEN: tl.constexpr):
    """Store or add gradients (K, J) as the weights (3H, width) are stored."""
    inside = (k[:, None] < WIDTH) & (j[None, :] < HIDDEN)
    at = into + j[None, :] * WIDTH + k[:, None]
    add(at, r, inside, again)
    add(at + HIDDEN * WIDTH, z, inside, again)
    add(at + 2 * HIDDEN * WIDTH, n, inside, again)


@triton.jit
def backward_tile(
    h, x_at, length, longest, tape, u, head, task, place, noise_at, count, into, again,
    PER_STEP: tl.constexpr, ANSWER: tl.constexpr, BIAS: tl.constexpr,
    INPUTS: tl.constexpr, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr,
    TILE_I: tl.constexpr, TILE_C: tl.constexpr,
):  # fmt: skip
    """Answer for a tile of sequences and go back through it.

    Args:
        h: Last states (B, H).
        x_at: Where the sequences begin (B, 1).
        length: Their valid steps (B, 1), none for what is no sequence.
        longest: The most of these.
        tape: Of ``forward_tile``.
        u: Recurrent weights.
        head: Weights and bias.
        task: Of ``answer``.
        place: Where the targets of the sequences begin (B, 1).
        noise_at: Where what dropout multiplies by begins (B, 1); None for nothing.
        count: Answers of the batch.
        into: Where the gradients go.
        again: Whether they are added to what is there.
        PER_STEP: Whether there is an answer for each step.
        ANSWER: Which kind.
        BIAS: Whether the GRU has biases.
        INPUTS: I.
        HIDDEN: H.
        OUTPUTS: C.
        TILE_I: I padded.
        TILE_C: C padded.

    Returns:
        The sums of losses and of metrics.
    """
    rows: tl.constexpr = h.shape[0]
    width: tl.constexpr = h.shape[1]
    slot: tl.constexpr = rows * width
    i, j, c = tl.arange(0, TILE_I), tl.arange(0, width), tl.arange(0, TILE_C)[None, :]
    at = (
        tape
        + tl.arange(0, rows)[:, None] * width
        + j[None, :]
        + (longest - 1).to(tl.int64) * (5 * slot)
    )
    loss, metric = tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64)
    d_h, after = tl.full((rows, width), 0.0, tl.float32), h
    d_head = tl.full((width, TILE_C), 0.0, tl.float32)
    s_head = tl.full((rows, TILE_C), 0.0, tl.float32)
    if not PER_STEP:
        loss, metric, read, s_head, d_h = answer(
            h, head, task, place, length > 0, noise_at, count, j, c, ANSWER, HIDDEN, OUTPUTS
        )
        d_head = dot(tl.trans(read), s_head, d_head, EXACT)
    d_u_r = tl.full((width, width), 0.0, tl.float32)
    d_v_r = tl.full((TILE_I, width), 0.0, tl.float32)
    s_c = tl.full((rows, width), 0.0, tl.float32)
    d_u_z, d_u_c, d_v_z, d_v_n = d_u_r, d_u_r, d_v_r, d_v_r
    for q in range(longest):
        p = longest - 1 - q
        valid = p < length
        x = load_step(x_at, p, length, i, INPUTS)
        before, r, z = tl.load(at), tl.load(at + slot), tl.load(at + 2 * slot)
        n, share = tl.load(at + 3 * slot), tl.load(at + 4 * slot)
        if PER_STEP:
            noise_now = None
            if noise_at is not None:
                noise_now = noise_at + p * HIDDEN
            more, right, read, d, pull = answer(
                after, head, task, place + p, valid, noise_now, count, j, c,
                ANSWER, HIDDEN, OUTPUTS,
            )  # fmt: skip
            loss += more
            metric += right
            d_head = dot(tl.trans(read), d, d_head, EXACT)
            s_head += d
            d_h += tl.where(valid, pull, 0.0)
        d_new = tl.where(valid, d_h, 0.0)
        d_n = d_new * (1.0 - z) * (1.0 - n * n)
        d_z = d_new * (before - n) * z * (1.0 - z)
        d_r = d_n * share * r * (1.0 - r)
        d_c = d_n * r
        # not summed onto the larger d_new: that would round each product to its size
        d_h = tl.where(valid, d_new * z + back3(d_r, d_z, d_c, u, EXACT), d_h)
        by_input, by_state = (d_r, d_z, d_n), (d_r, d_z, d_c)
        d_v_r, d_v_z, d_v_n = product3(tl.trans(x), by_input, d_v_r, d_v_z, d_v_n, EXACT)
        d_u_r, d_u_z, d_u_c = product3(tl.trans(before), by_state, d_u_r, d_u_z, d_u_c, EXACT)
        s_c += d_c
        after = before
        at -= 5 * slot
    add3(into, d_v_r, d_v_z, d_v_n, i, j, again, INPUTS, HIDDEN)
    into += 3 * HIDDEN * INPUTS
    add3(into, d_u_r, d_u_z, d_u_c, j, j, again, HIDDEN, HIDDEN)
    into += 3 * HIDDEN * HIDDEN
    if BIAS:
        units, by_one = j < HIDDEN, (i[:, None] == INPUTS) & (j[None, :] < HIDDEN)
        at = into + j[None, :] + 0 * i[:, None]
        add(at, d_v_r, by_one, again)
        add(at + HIDDEN, d_v_z, by_one, again)
        add(at + 2 * HIDDEN, d_v_n, by_one, again)
        at += 3 * HIDDEN
        add(at, d_v_r, by_one, again)
        add(at + HIDDEN, d_v_z, by_one, again)
        add(into + 5 * HIDDEN + j, tl.sum(s_c, 0), units, again)
        into += 6 * HIDDEN
    add(into + c * HIDDEN + j[:, None], d_head, (j[:, None] < HIDDEN) & (c < OUTPUTS), again)
    into += HIDDEN * OUTPUTS
    add(into + tl.arange(0, TILE_C), tl.sum(s_head, 0), tl.arange(0, TILE_C) < OUTPUTS, again)
    return loss, metric


@triton.jit
def noise_of(noise, starts, model, batches, step, b, batch):
    """Return where what dropout multiplies by begins for each sequence (B, 1)."""
    at = starts + model * (batches + 1) + step
    first = tl.load(at)
    return noise + first + b * ((tl.load(at + 1) - first) // batch)


@triton.jit
def lengths_of(lengths, n, inside, steps):
    """Return the valid steps of sequences (B, 1), none for what is no sequence."""
    if lengths is None:
        return tl.where(inside, steps, 0)
    else:
        return tl.load(lengths + n, mask=inside, other=0).to(tl.int32)


@triton.jit(do_not_specialize=["batches", "steps", "size", "in_order"])
def train_kernel(
    parameters, gradients, first, second, third, sums, rows, groups, limits, variables, squares,
    values, lengths, begins, labels, weights, scale, order, starts, answers, noise, noise_starts,
    tape, losses, metrics, batches, steps, size, in_order, slots, smoothing,
    INPUTS: tl.constexpr, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr, BIAS: tl.constexpr,
    ANSWER: tl.constexpr, PER_STEP: tl.constexpr, GROUPS: tl.constexpr, RULE: tl.constexpr,
    NORM: tl.constexpr, VALUE: tl.constexpr, VARIABLES: tl.constexpr, BLOCK: tl.constexpr,
    TILE_B: tl.constexpr, TILE_I: tl.constexpr, TILE_H: tl.constexpr, TILE_C: tl.constexpr,
):  # fmt: skip
    """Take all steps of a network; shapes are those of ``triton_training.train_steps``."""
    model = tl.program_id(0).to(tl.int64)
    mine = model * size
    w_ih = parameters + mine
    w_hh = w_ih + 3 * HIDDEN * INPUTS
    after = w_hh + 3 * HIDDEN * HIDDEN
    b_ih, b_hh = None, None
    if BIAS:
        b_ih, b_hh = after, after + 3 * HIDDEN
        after += 6 * HIDDEN
    into = gradients + mine
    if second is not None:
        second += mine
    if third is not None:
        third += mine
    if sums is not None:
        sums += mine
    state = w_ih, into, first + mine, second, third, sums
    rows += model * batches * (GROUPS * COLUMNS)
    limits += model * 3
    squares += model * (1 + VARIABLES)
    order += model * in_order
    tape += model * slots
    task = labels, weights, scale, smoothing
    i, j, c = tl.arange(0, TILE_I), tl.arange(0, TILE_H), tl.arange(0, TILE_C)[None, :]
    for step in range(batches):
        start, stop = tl.load(starts + step), tl.load(starts + step + 1)
        bias, u = load_bias(b_ih, b_hh, j, HIDDEN), load3(w_hh, j, j, HIDDEN, HIDDEN)
        v = load_by_input(w_ih, bias, i, j, INPUTS, HIDDEN)
        head = load_head(after, after + OUTPUTS * HIDDEN, j, c, HIDDEN, OUTPUTS)
        result = model * batches + step
        count = tl.load(answers + result)
        loss, metric = tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64)
        for tile in range(start, stop, TILE_B):
            b = (tile + tl.arange(0, TILE_B))[:, None]
            n = tl.load(order + b, mask=b < stop, other=0)
            length = lengths_of(lengths, n, b < stop, steps)
            longest = tl.max(length)
            x_at = values + n * steps * INPUTS
            place = tl.load(begins + n)
            noise_at = None
            if noise is not None:
                noise_at = noise_of(
                    noise, noise_starts, model, batches, step, b - start, stop - start
                )
            h = forward_tile(x_at, length, longest, tape, v, u, bias[3], INPUTS)
            tl.debug_barrier()  # the tape is written
            more, right = backward_tile(
                h, x_at, length, longest, tape, u, head, task, place, noise_at, count, into,
                tile > start, PER_STEP, ANSWER, BIAS, INPUTS, HIDDEN, OUTPUTS, TILE_I, TILE_C,
            )  # fmt: skip
            loss += more
            metric += right
            tl.debug_barrier()  # the tape is read, and gradients are written
        tl.store(losses + result, loss / count)
        tl.store(metrics + result, metric)
        settings = rows + step * (GROUPS * COLUMNS), groups, limits, variables, squares
        if NORM:
            sum_squares(state, settings, 0, size, 0, 0, NORM, VALUE, 1, 1, BLOCK)
            tl.debug_barrier()
        if VARIABLES > 0:
            sum_squares(state, settings, 0, size, 0, VARIABLES, NORM, VALUE, 1, 1, BLOCK)
            tl.debug_barrier()
        update(state, settings, 0, size, RULE, NORM, VALUE, VARIABLES, False, 1, 1, BLOCK)
        tl.debug_barrier()  # parameters are written
