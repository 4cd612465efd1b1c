"""What the GPU runs for ``grulight.kernels.triton_cuda``, which says why it is as it is.

Legend: B sequences of a tile, I input, H hidden, J units of a result, K what a product sums over;
a input share of the gates r, z, n; c recurrent share of n; d_X derivative by X. ``u`` are the three
tiles (H, J) of W_hh, ``v`` those (I, J) of W_ih, ``bias`` the four (1, J) of r, z, n and c.
"""

# the kernels' arguments are Triton's, which has no types for them
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: ANN001, ANN201

import triton
import triton.language as tl


@triton.jit
def sigmoid(x):
    """Return 1 / (1 + e^-x); where e^-x is infinite that is 0."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x):
    """Return tanh x: near zero Cephes' polynomial (tanhf.c), elsewhere 1 - 2 / (e^2|x| + 1)."""
    s = x * x
    near = (-5.70498872745e-3 * s + 2.06390887954e-2) * s - 5.37397155531e-2
    near = ((near * s + 1.33314422036e-1) * s - 3.33332819422e-1) * s * x + x
    far = 1.0 - 2.0 / (tl.exp(2.0 * tl.abs(x)) + 1.0)
    return tl.where(tl.abs(x) < 0.625, near, tl.where(x < 0.0, -far, far))


# each float32 as three bfloat16, six of whose nine products count: float32's accuracy from tensor
# cores (Henry, Tang and Heinecke 2019, arXiv 1904.06376); the interpreter knows nothing of it
PRECISION = tl.constexpr("ieee" if triton.knobs.runtime.interpret else "bf16x6")


@triton.jit
def dot(a, b, acc, HOW: tl.constexpr = PRECISION):
    """Return acc + a b, never in TF32."""
    return tl.dot(a.to(b.dtype), b, acc, input_precision=HOW)


@triton.jit
def product3(a, w, r, z, n, HOW: tl.constexpr = PRECISION):
    """Return r + a w_r, z + a w_z, n + a w_n."""
    return dot(a, w[0], r, HOW), dot(a, w[1], z, HOW), dot(a, w[2], n, HOW)


@triton.jit
def back3(d_r, d_z, d_n, w, HOW: tl.constexpr = PRECISION):
    """Return what reaches the argument of ``product3``."""
    zeros = tl.full((d_r.shape[0], w[0].shape[0]), 0.0, tl.float32)
    into = dot(d_z, tl.trans(w[1]), dot(d_r, tl.trans(w[0]), zeros, HOW), HOW)
    return dot(d_n, tl.trans(w[2]), into, HOW)


@triton.jit
def load3(w, k, j, WIDTH: tl.constexpr, HIDDEN: tl.constexpr):
    """Return tiles (K, J) of the weights (3H, width) of r, z and n."""
    inside = (k[:, None] < WIDTH) & (j[None, :] < HIDDEN)
    at = w + j[None, :] * WIDTH + k[:, None]
    r = tl.load(at, mask=inside, other=0.0)
    z = tl.load(at + HIDDEN * WIDTH, mask=inside, other=0.0)
    n = tl.load(at + 2 * HIDDEN * WIDTH, mask=inside, other=0.0)
    return r, z, n


@triton.jit
def load_bias(b_ih, b_hh, j, HIDDEN: tl.constexpr):
    """Return the biases of r, z, n and c, or zeros."""
    zeros = tl.full((1, j.shape[0]), 0.0, tl.float32)
    r, z, n, c = zeros, zeros, zeros, zeros
    if b_ih is not None:
        j = j[None, :]
        u = j < HIDDEN
        r += tl.load(b_ih + j, mask=u, other=0.0)
        r += tl.load(b_hh + j, mask=u, other=0.0)
        z += tl.load(b_ih + HIDDEN + j, mask=u, other=0.0)
        z += tl.load(b_hh + HIDDEN + j, mask=u, other=0.0)
        n += tl.load(b_ih + 2 * HIDDEN + j, mask=u, other=0.0)
        c += tl.load(b_hh + 2 * HIDDEN + j, mask=u, other=0.0)
    return r, z, n, c


@triton.jit
def load_length(lengths, b, batch, steps):
    """Return the valid steps (B, 1)."""
    if lengths is None:
        return steps + 0 * b
    else:
        return tl.load(lengths + b, mask=b < batch, other=0)


@triton.jit
def time_of(p, length, REVERSE: tl.constexpr):
    """Return the time of the step that is p-th to be read; past the end it is p itself."""
    if REVERSE:
        return tl.where(p < length, length - 1 - p, p)
    else:
        return p + 0 * length


@triton.jit
def load_x(x_at, k, inside, INPUTS: tl.constexpr):
    """Return inputs (B, K) given where those of each sequence begin."""
    return tl.load(x_at + k[None, :], mask=inside & (k[None, :] < INPUTS), other=0.0)


@triton.jit
def gates(x_at, h, valid, w_ih, v, u, bias, INPUTS: tl.constexpr, HIDDEN: tl.constexpr):
    """Return r, z, n and c for the inputs at ``x_at`` and the states h (B, H)."""
    width: tl.constexpr = v[0].shape[0]
    i, j = tl.arange(0, width), tl.arange(0, h.shape[1])
    zeros = tl.full(h.shape, 0.0, tl.float32)
    r, z, a = product3(load_x(x_at, i, valid, INPUTS), v, zeros, zeros, zeros)
    for start in range(width, INPUTS, width):
        more = load3(w_ih, start + i, j, INPUTS, HIDDEN)
        r, z, a = product3(load_x(x_at, start + i, valid, INPUTS), more, r, z, a)
    r, z, c = product3(h, u, r, z, zeros)
    r, z, c = sigmoid(r + bias[0]), sigmoid(z + bias[1]), c + bias[3]
    return r, z, tanh(a + bias[2] + r * c), c


@triton.jit(do_not_specialize=["batch", "steps"])
def forward_kernel(
    x, h0, lengths, w_ih, w_hh, b_ih, b_hh, out, last, batch, steps,
    INPUTS: tl.constexpr, HIDDEN: tl.constexpr, REVERSE: tl.constexpr,
    TILE_B: tl.constexpr, TILE_I: tl.constexpr, TILE_H: tl.constexpr,
):  # fmt: skip
    """Read ``TILE_B`` sequences; shapes are those of ``triton_cuda.forward``."""
    b = (tl.program_id(0).to(tl.int64) * TILE_B + tl.arange(0, TILE_B))[:, None]
    i, j = tl.arange(0, TILE_I), tl.arange(0, TILE_H)
    units = (b < batch) & (j[None, :] < HIDDEN)
    length = load_length(lengths, b, batch, steps)
    bias = load_bias(b_ih, b_hh, j, HIDDEN)
    v, u = load3(w_ih, i, j, INPUTS, HIDDEN), load3(w_hh, j, j, HIDDEN, HIDDEN)
    h = tl.load(h0 + b * HIDDEN + j[None, :], mask=units, other=0.0).to(tl.float32)
    for p in range(steps):
        valid = (b < batch) & (p < length)
        row = b * steps + time_of(p, length, REVERSE)
        _, z, n, _ = gates(x + row * INPUTS, h, valid, w_ih, v, u, bias, INPUTS, HIDDEN)
        h = tl.where(valid, z * (h - n) + n, h)
        tl.store(out + row * HIDDEN + j[None, :], tl.where(valid, h, 0.0), mask=units)
    tl.store(last + b * HIDDEN + j[None, :], h, mask=units)


@triton.jit
def store3(into, r, z, n, k, j, WIDTH: tl.constexpr, HIDDEN: tl.constexpr):
    """Store gradients (K, J) as the weights (3H, width) are stored."""
    inside = (k[:, None] < WIDTH) & (j[None, :] < HIDDEN)
    at = into + j[None, :] * WIDTH + k[:, None]
    tl.store(at, r, mask=inside)
    tl.store(at + HIDDEN * WIDTH, z, mask=inside)
    tl.store(at + 2 * HIDDEN * WIDTH, n, mask=inside)


@triton.jit
def store4(at, r, z, n, c, inside, HIDDEN: tl.constexpr):
    """Store four arrays of J units one behind the other."""
    tl.store(at, r, mask=inside)
    tl.store(at + HIDDEN, z, mask=inside)
    tl.store(at + 2 * HIDDEN, n, mask=inside)
    tl.store(at + 3 * HIDDEN, c, mask=inside)


@triton.jit(do_not_specialize=["batch", "steps"])
def backward_kernel(
    d_out, d_last, x, h0, lengths, w_ih, w_hh, b_ih, b_hh, out, d_x, d_h0, d_gates, sums,
    batch, steps,
    INPUTS: tl.constexpr, HIDDEN: tl.constexpr, REVERSE: tl.constexpr,
    TILE_B: tl.constexpr, TILE_I: tl.constexpr, TILE_H: tl.constexpr,
):  # fmt: skip
    """Go back through ``TILE_B`` sequences; shapes are those of ``triton_cuda.backward``.

    Either ``sums`` (programs, 3HI + 3HH + 4H) takes the gradients of W_ih, of W_hh, and of the
    biases of r, z, n and c, and ``d_x`` may be given, where ``TILE_I`` covers it; or ``d_gates``
    (batch, time, 4H) takes the derivatives by these.
    """
    b = (tl.program_id(0).to(tl.int64) * TILE_B + tl.arange(0, TILE_B))[:, None]
    i, j = tl.arange(0, TILE_I), tl.arange(0, TILE_H)
    units = (b < batch) & (j[None, :] < HIDDEN)
    length = load_length(lengths, b, batch, steps)
    bias = load_bias(b_ih, b_hh, j, HIDDEN)
    v, u = load3(w_ih, i, j, INPUTS, HIDDEN), load3(w_hh, j, j, HIDDEN, HIDDEN)
    d_h = tl.full((TILE_B, TILE_H), 0.0, tl.float32)
    if d_last is not None:
        d_h += tl.load(d_last + b * HIDDEN + j[None, :], mask=units, other=0.0)
    d_u_r = tl.full((TILE_H, TILE_H), 0.0, tl.float32)
    d_v_r = tl.full((TILE_I, TILE_H), 0.0, tl.float32)
    s_r = tl.full((TILE_B, TILE_H), 0.0, tl.float32)
    d_u_z, d_u_c, d_v_z, d_v_n = d_u_r, d_u_r, d_v_r, d_v_r
    s_z, s_n, s_c = s_r, s_r, s_r
    for q in range(steps):
        p = steps - 1 - q + 0 * length
        valid = (b < batch) & (p < length)
        row = b * steps + time_of(p, length, REVERSE)
        before = b * steps + time_of(p - 1, length, REVERSE)
        h = tl.load(out + before * HIDDEN + j[None, :], mask=units & (p > 0), other=0.0)
        first = tl.load(h0 + b * HIDDEN + j[None, :], mask=units & (p == 0), other=0.0)
        h = h.to(tl.float32) + first.to(tl.float32)
        r, z, n, c = gates(x + row * INPUTS, h, valid, w_ih, v, u, bias, INPUTS, HIDDEN)
        d_new = d_h
        if d_out is not None:
            d_new += tl.load(d_out + row * HIDDEN + j[None, :], mask=units, other=0.0)
        d_new = tl.where(valid & units, d_new, 0.0)
        d_n = d_new * (1.0 - z) * (1.0 - n * n)
        d_z = d_new * (h - n) * z * (1.0 - z)
        d_r = d_n * c * r * (1.0 - r)
        d_c = d_n * r
        # not summed onto the larger d_new: that would round each product to its size
        d_h = tl.where(valid, d_new * z + back3(d_r, d_z, d_c, u), d_h)
        if d_x is not None:
            d_x_BI = back3(d_r, d_z, d_n, v)
            inside = (b < batch) & (i[None, :] < INPUTS)
            tl.store(d_x + row * INPUTS + i[None, :], d_x_BI, mask=inside)
        if sums is not None:
            x_IB = tl.trans(load_x(x + row * INPUTS, i, valid, INPUTS).to(tl.float32))
            d_v_r, d_v_z, d_v_n = product3(x_IB, (d_r, d_z, d_n), d_v_r, d_v_z, d_v_n)
            d_u_r, d_u_z, d_u_c = product3(tl.trans(h), (d_r, d_z, d_c), d_u_r, d_u_z, d_u_c)
            s_r, s_z, s_n, s_c = s_r + d_r, s_z + d_z, s_n + d_n, s_c + d_c
        if d_gates is not None:
            at = d_gates + row * 4 * HIDDEN + j[None, :]
            store4(at, d_r, d_z, d_n, d_c, units, HIDDEN)
    tl.store(d_h0 + b * HIDDEN + j[None, :], d_h, mask=units)
    if sums is not None:
        into = sums + tl.program_id(0).to(tl.int64) * HIDDEN * (3 * (INPUTS + HIDDEN) + 4)
        store3(into, d_v_r, d_v_z, d_v_n, i, j, INPUTS, HIDDEN)
        into += 3 * HIDDEN * INPUTS
        store3(into, d_u_r, d_u_z, d_u_c, j, j, HIDDEN, HIDDEN)
        into += 3 * HIDDEN * HIDDEN + j
        s_r, s_z, s_n, s_c = tl.sum(s_r, 0), tl.sum(s_z, 0), tl.sum(s_n, 0), tl.sum(s_c, 0)
        store4(into, s_r, s_z, s_n, s_c, j < HIDDEN, HIDDEN)
