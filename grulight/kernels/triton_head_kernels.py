"""What stands behind a GRU on a GPU: ``numba_head``, a tile of states at a time, in float32.

Legend: B states of a tile, H hidden, C numbers of an answer; ``c`` are their places (1, C).
"""

# the kernels' arguments are Triton's, which has no types for them
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: ANN001, ANN201

import triton
import triton.language as tl

from grulight.kernels.triton_kernels import dot, sigmoid

CLASSES, VALUES = tl.constexpr(0), tl.constexpr(2)  # as numba_head counts answers
# a product of so few numbers takes more instructions on tensor cores: each is split in three there
EXACT = tl.constexpr("ieee")


@triton.jit
def class_loss(logits, y, c, smoothing, OUTPUTS: tl.constexpr):
    """Return the cross entropy of logits (B, C), whether they are right, and derivatives."""
    inside = c < OUTPUTS
    low = tl.where(inside, logits, -float("inf"))
    top = tl.max(low, 1)[:, None]
    shares = tl.exp(low - top)
    total = tl.sum(shares, 1)[:, None]
    chosen = tl.sum(tl.where(c == y, logits, 0.0), 1)[:, None]
    even = tl.sum(tl.where(inside, logits, 0.0), 1)[:, None] / OUTPUTS
    best = tl.min(tl.where(low == top, c, OUTPUTS), 1)[:, None]
    loss = tl.log(total) + top - chosen + smoothing * (chosen - even)
    target = tl.where(c == y, 1.0 - smoothing, 0.0) + smoothing / OUTPUTS
    return loss, tl.where(best == y, 1.0, 0.0), shares / total - tl.where(inside, target, 0.0)


@triton.jit
def binary_loss(logits, target):
    """Return the cross entropy of each logit and a target from 0 to 1, and its derivative."""
    small = tl.exp(-tl.abs(logits))
    more = 1.0 + small  # rounded; the quotient of log(more) by what was added is exact enough
    added = tl.where(more == 1.0, 1.0, more - 1.0)
    rest = tl.where(more == 1.0, small, tl.log(more) * (small / added))
    return tl.maximum(logits, 0.0) - logits * target + rest, sigmoid(logits) - target


@triton.jit
def number_losses(logits, labels, place, inside, scale, c, smoothing, ANSWER: tl.constexpr,
                  OUTPUTS: tl.constexpr):  # fmt: skip
    """Return losses, metrics and derivatives of each number by itself, all (B, C)."""
    if ANSWER == CLASSES:  # two of them, told by one number
        theirs = tl.load(labels + place + 0 * c, mask=inside, other=0).to(tl.float32)
    else:
        theirs = tl.load(labels + place * OUTPUTS + c, mask=inside, other=0.0)
    if ANSWER == VALUES:
        off = logits - theirs
        unit = tl.load(scale + c, mask=c < OUTPUTS, other=0.0)
        return off * off, tl.abs(off) * unit, 2.0 * off
    else:
        loss, d = binary_loss(logits, theirs * (1.0 - smoothing) + smoothing * 0.5)
        return loss, tl.where((logits > 0.0) == (theirs == 1.0), 1.0, 0.0), d


@triton.jit
def losses_of(
    logits, labels, place, counted, scale, c, smoothing, ANSWER: tl.constexpr, OUTPUTS: tl.constexpr
):
    """Return the loss and the metric of answers (B, C), both (B, 1), and derivatives (B, C)."""
    if ANSWER == CLASSES and OUTPUTS > 1:
        y = tl.load(labels + place, mask=counted, other=0).to(tl.int32)
        return class_loss(logits, y, c, smoothing, OUTPUTS)
    else:
        inside = counted & (c < OUTPUTS)
        loss, metric, d = number_losses(
            logits, labels, place, inside, scale, c, smoothing, ANSWER, OUTPUTS
        )
        loss = tl.sum(tl.where(inside, loss, 0.0), 1)[:, None] / OUTPUTS
        metric = tl.sum(tl.where(inside, metric, 0.0), 1)[:, None] / OUTPUTS
        return loss, metric, tl.where(inside, d, 0.0) / OUTPUTS


@triton.jit
def load_noise(noise_at, counted, j, HIDDEN: tl.constexpr):
    """Return what dropout multiplies states by (B, H)."""
    mask = counted & (j[None, :] < HIDDEN)
    return tl.load(noise_at + j[None, :], mask=mask, other=0.0)


@triton.jit
def answer(
    h, head, task, place, counted, noise_at, count, j, c,
    ANSWER: tl.constexpr, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr,
):  # fmt: skip
    """Answer for states, and go back: losses and metrics summed, derivatives by head and state.

    Args:
        h: States (B, H).
        head: Weights (H, C) and bias (1, C).
        task: Labels, weights of losses (None for 1), scale of values, smoothing.
        place: Where the targets of each are (B, 1).
        counted: Which are asked for (B, 1).
        noise_at: Where lies what states are multiplied by before (B, 1); None for 1.
        count: Answers of the batch.
        j: Units of a state (H,).
        c: Numbers of an answer (1, C).
        ANSWER: Which kind.
        HIDDEN: How many units.
        OUTPUTS: How many numbers.

    Returns:
        Sums of losses and of metrics; what the head read (B, H); derivatives by its answers (B, C)
        and by the states (B, H).
    """
    labels, weights, scale, smoothing = task
    if noise_at is not None:
        noise = load_noise(noise_at, counted, j, HIDDEN)
        h *= noise
    logits = dot(h, head[0], tl.full((h.shape[0], c.shape[1]), 0.0, tl.float32), EXACT) + head[1]
    loss, metric, d = losses_of(
        logits, labels, place, counted, scale, c, smoothing, ANSWER, OUTPUTS
    )
    if weights is not None:
        weight = tl.load(weights + place, mask=counted, other=0.0)
        loss *= weight
        d *= weight
    d = tl.where(counted, d, 0.0) / count
    d_h = dot(d, tl.trans(head[0]), tl.full(h.shape, 0.0, tl.float32), EXACT)
    if noise_at is not None:
        d_h *= noise
    loss = tl.sum(tl.where(counted, loss, 0.0).to(tl.float64))
    metric = tl.sum(tl.where(counted, metric, 0.0).to(tl.float64))
    return loss, metric, h, d, d_h


@triton.jit
def load_head(weight, bias, j, c, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr):
    """Return the head's weights (H, C) and bias (1, C)."""
    inside = (j[:, None] < HIDDEN) & (c < OUTPUTS)
    found = tl.load(weight + c * HIDDEN + j[:, None], mask=inside, other=0.0)
    return found, tl.load(bias + c, mask=c < OUTPUTS, other=0.0)
