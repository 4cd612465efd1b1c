"""The optimisers' rules on a GPU: ``numba_update``, operation by operation, in float32.

Settings are read where they lie, at ``row``: a pointer, or one for each number of a block, where
groups have settings of their own. Nothing that changes from step to step is an argument, so that a
CUDA graph can hold a step.

Legend: i places of a block of numbers in flat arrays. ``state`` are these arrays, parameters,
gradients, three moments and the sum of gradients that have moved nothing yet, of which the last two
moments and the sum may be None. ``settings`` are the rows of a step, the group of each number
(None for one group), limits of gradients (norm of all, value, norm of a variable's; 0 for none),
the variable of each number and place for the sums of squares, (1 + VARIABLES, PARTS) float64.
"""

# the kernels' arguments are Triton's, which has no types for them
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: ANN001, ANN201

import triton
import triton.language as tl

from grulight.kernels import rules

KERAS_ADAM = tl.constexpr(rules.KERAS_ADAM)
KERAS_RMSPROP = tl.constexpr(rules.KERAS_RMSPROP)
KERAS_SGD = tl.constexpr(rules.KERAS_SGD)
ADAM = tl.constexpr(rules.ADAM)
RMSPROP = tl.constexpr(rules.RMSPROP)

RATE = tl.constexpr(rules.RATE)
EPSILON = tl.constexpr(rules.EPSILON)
DECAY = tl.constexpr(rules.DECAY)
KEPT = tl.constexpr(rules.KEPT)
NEW = tl.constexpr(rules.NEW)
NEW_SQUARE = tl.constexpr(rules.NEW_SQUARE)
STEP_SIZE = tl.constexpr(rules.STEP_SIZE)
ROOT = tl.constexpr(rules.ROOT)
MOMENTUM = tl.constexpr(rules.MOMENTUM)
FLAG = tl.constexpr(rules.FLAG)
SHRUNK = tl.constexpr(rules.SHRUNK)
SUMMED = tl.constexpr(rules.SUMMED)
WAITS = tl.constexpr(rules.WAITS)
COLUMNS = tl.constexpr(rules.COLUMNS)
NOBODY = tl.constexpr(2**30)  # no group has such a number


@triton.jit
def shrunk(w, row):
    """Return parameters after Keras' weight decay."""
    decay = tl.load(row + DECAY)
    return tl.where(decay != 0.0, w - w * decay * tl.load(row + RATE), w)


@triton.jit
def keras_adam(w, g, mean, square, largest, row):
    """Return what ``grulight.optim.KerasAdam`` makes of parameters and moments."""
    w = shrunk(w, row)
    mean += (g - mean) * tl.load(row + NEW)
    square += (g * g - square) * tl.load(row + NEW_SQUARE)
    amsgrad = tl.load(row + FLAG) != 0.0
    largest = tl.where(amsgrad, tl.maximum(largest, square), largest)
    root = tl.sqrt_rn(tl.where(amsgrad, largest, square))
    move = tl.div_rn(mean * tl.load(row + STEP_SIZE), root + tl.load(row + EPSILON))
    return w - move, mean, square, largest


@triton.jit
def adam(w, g, mean, square, largest, row):
    """Return what ``torch.optim.Adam`` or ``AdamW``, which shrinks first, makes of them."""
    g += tl.load(row + DECAY) * w
    mean += (g - mean) * tl.load(row + NEW)
    square = square * tl.load(row + KEPT) + g * g * tl.load(row + NEW_SQUARE)
    amsgrad = tl.load(row + FLAG) != 0.0
    largest = tl.where(amsgrad, tl.maximum(largest, square), largest)
    root = tl.sqrt_rn(tl.where(amsgrad, largest, square))
    move = tl.div_rn(mean, tl.div_rn(root, tl.load(row + ROOT)) + tl.load(row + EPSILON))
    w = w * tl.load(row + SHRUNK) - tl.load(row + STEP_SIZE) * move
    return w, mean, square, largest


@triton.jit
def with_momentum(move, velocity, row):
    """Return a move and the velocity, which stays where there is no momentum."""
    momentum = tl.load(row + MOMENTUM)
    faster = velocity * momentum + move
    moving = momentum != 0.0
    return tl.where(moving, faster, move), tl.where(moving, faster, velocity)


@triton.jit
def keras_rmsprop(w, g, square, velocity, mean, row):
    """Return what ``grulight.optim.KerasRMSprop`` makes of them."""
    w, new, kept = shrunk(w, row), tl.load(row + NEW_SQUARE), tl.load(row + KEPT)
    square = square * kept + g * g * new
    centered = tl.load(row + FLAG) != 0.0
    mean = tl.where(centered, mean * kept + g * new, mean)
    around = tl.where(centered, square - mean * mean, square)
    move = tl.div_rn(g * tl.load(row + RATE), tl.sqrt_rn(around + tl.load(row + EPSILON)))
    move, velocity = with_momentum(move, velocity, row)
    return w - move, square, velocity, mean


@triton.jit
def rmsprop(w, g, square, velocity, mean, row):
    """Return what ``torch.optim.RMSprop`` makes of them."""
    g += tl.load(row + DECAY) * w
    new = tl.load(row + NEW_SQUARE)
    square = square * tl.load(row + KEPT) + g * g * new
    centered = tl.load(row + FLAG) != 0.0
    mean = tl.where(centered, mean + (g - mean) * new, mean)
    around = tl.where(centered, square - mean * mean, square)
    move = tl.div_rn(g, tl.sqrt_rn(around) + tl.load(row + EPSILON))
    move, velocity = with_momentum(move, velocity, row)
    return w - tl.load(row + RATE) * move, square, velocity, mean


@triton.jit
def keras_sgd(w, g, velocity, row):
    """Return what ``grulight.optim.KerasSGD`` makes of them."""
    w, move = shrunk(w, row), -tl.load(row + RATE) * g
    faster, velocity = with_momentum(move, velocity, row)
    momentum = tl.load(row + MOMENTUM)
    nesterov = (tl.load(row + FLAG) != 0.0) & (momentum != 0.0)
    return w + tl.where(nesterov, velocity * momentum + move, faster), velocity


@triton.jit
def sgd(w, g, kept, row):
    """Return what ``torch.optim.SGD`` makes of them."""
    move, momentum = g + tl.load(row + DECAY) * w, tl.load(row + MOMENTUM)
    moving = momentum != 0.0
    kept = tl.where(moving, kept * momentum + move * tl.load(row + NEW), kept)
    nesterov = tl.load(row + FLAG) != 0.0
    faster = tl.where(nesterov, move + momentum * kept, kept)
    return w - tl.load(row + RATE) * tl.where(moving, faster, move), kept


@triton.jit
def moved(w, g, first, second, third, row, RULE: tl.constexpr):
    """Return parameters and moments after a step of a rule."""
    if RULE == KERAS_ADAM:
        w, first, second, third = keras_adam(w, g, first, second, third, row)
    elif RULE == ADAM:
        w, first, second, third = adam(w, g, first, second, third, row)
    elif RULE == KERAS_RMSPROP:
        w, first, second, third = keras_rmsprop(w, g, first, second, third, row)
    elif RULE == RMSPROP:
        w, first, second, third = rmsprop(w, g, first, second, third, row)
    elif RULE == KERAS_SGD:
        w, first = keras_sgd(w, g, first, row)
    else:
        w, first = sgd(w, g, first, row)
    return w, first, second, third


@triton.jit
def load_whole(of, i, inside):
    """Return the whole numbers of a block, such as its groups; zeros where there are none."""
    if of is None:
        return 0 * i
    else:
        return tl.load(of + i, mask=inside, other=-1)


@triton.jit
def load_moment(moment, i, inside):
    """Return a block of a moment; zeros where there is none."""
    if moment is None:
        return 0.0 * i
    else:
        return tl.load(moment + i, mask=inside, other=0.0)


@triton.jit
def row_of(rows, groups, group):
    """Return where the settings of a block lie."""
    if groups is None:
        return rows
    else:
        return rows + tl.maximum(group, 0) * COLUMNS


@triton.jit
def summed_gradient(state, rows, i, inside):
    """Return a block of gradients, and of their sums over batches, whose mean they are then."""
    g = tl.load(state[1] + i, mask=inside, other=0.0)
    if state[5] is None:
        return g, g
    else:
        count = tl.load(rows + SUMMED)
        total = tl.load(state[5] + i, mask=inside, other=0.0) + g
        mean = tl.div_rn(total, tl.where(count > 0.0, count, 1.0))
        return tl.where(count > 0.0, mean, g), total


@triton.jit
def total_of(squares, at, PARTS: tl.constexpr, PADDED: tl.constexpr):
    """Return the root of one sum of squares, of which each program has summed a part."""
    part = tl.arange(0, PADDED)
    return tl.sqrt(tl.sum(tl.load(squares + at * PARTS + part, mask=part < PARTS, other=0.0)))


@triton.jit
def limited_by_all(
    g, settings, NORM: tl.constexpr, VALUE: tl.constexpr, PARTS: tl.constexpr, PADDED: tl.constexpr
):
    """Return gradients that are limited as ``clip_grad_norm_`` and ``clip_grad_value_`` do."""
    limits, squares = settings[2], settings[4]
    if NORM:
        limit = tl.load(limits)
        share = limit / (total_of(squares, 0, PARTS, PADDED) + 1e-6)
        share = tl.where(share >= 1.0, 1.0, share)
        g *= tl.where(limit > 0.0, share, 1.0).to(tl.float32)
    if VALUE:
        limit = tl.load(limits + 1).to(tl.float32)
        limit = tl.where(limit > 0.0, limit, float("inf"))
        g = tl.where(g > limit, limit, tl.where(g < -limit, -limit, g))
    return g


@triton.jit
def limited_by_variables(
    g, settings, i, inside, VARIABLES: tl.constexpr, PARTS: tl.constexpr, PADDED: tl.constexpr
):
    """Return gradients that are limited as Keras' ``clipnorm`` does."""
    limit = tl.load(settings[2] + 2)
    variable = load_whole(settings[3], i, inside)
    for number in range(VARIABLES):
        root = total_of(settings[4], 1 + number, PARTS, PADDED)
        least = tl.where(limit > 0.0, limit, 1.0)
        share = tl.where(limit > 0.0, least / tl.where(root > least, root, least), 1.0)
        share = share.to(tl.float32)
        g = tl.where(variable == number, g * share, g)
    return g


@triton.jit
def sum_squares(
    state, settings, start, stop, part, VARIABLES: tl.constexpr, NORM: tl.constexpr,
    VALUE: tl.constexpr, PARTS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sum the squares of a part's gradients: of all of them, or with VARIABLES of each variable.

    The latter are limited as a whole before.
    """
    for number in range(1 if VARIABLES == 0 else VARIABLES):
        total = tl.full((BLOCK,), 0.0, tl.float64)
        for block in range(start, stop, BLOCK):
            i = block + tl.arange(0, BLOCK)
            inside = i < stop
            g, _ = summed_gradient(state, settings[0], i, inside)
            moving = load_whole(settings[1], i, inside) >= 0
            if VARIABLES == 0:
                counted = moving
            else:
                limited = limited_by_all(g, settings, NORM, VALUE, PARTS, PADDED)
                g = tl.where(moving, limited, g)
                counted = load_whole(settings[3], i, inside) == number
            wide = tl.where(inside & counted, g, 0.0).to(tl.float64)
            total += wide * wide
        at = 0 if VARIABLES == 0 else 1 + number
        tl.store(settings[4] + at * PARTS + part, tl.sum(total))


@triton.jit
def update(
    state, settings, start, stop, RULE: tl.constexpr, NORM: tl.constexpr, VALUE: tl.constexpr,
    VARIABLES: tl.constexpr, ZERO: tl.constexpr, PARTS: tl.constexpr, PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Move the numbers of flat arrays from start to stop by a step."""
    parameters, gradients, first, second, third, sums = state
    rows, groups = settings[0], settings[1]
    least, summing = 0, 0  # group of those that move, place of the first whose sum stays
    if sums is not None:
        waits = tl.load(rows + WAITS) * tl.load(rows + SUMMED)
        least = tl.where(waits != 0.0, NOBODY, 0)
        summing = tl.where(tl.load(rows + SUMMED) != 0.0, stop, 0)
    for block in range(start, stop, BLOCK):
        i = block + tl.arange(0, BLOCK)
        inside = i < stop
        g, total = summed_gradient(state, rows, i, inside)
        if sums is not None:
            kept = tl.where(least > 0, total, 0.0)
            tl.store(sums + i, kept, mask=i < summing)
        group = load_whole(groups, i, inside)
        moving = inside & (group >= least)
        g = limited_by_all(g, settings, NORM, VALUE, PARTS, PADDED)
        if VARIABLES > 0:
            g = limited_by_variables(g, settings, i, inside, VARIABLES, PARTS, PADDED)
        w = tl.load(parameters + i, mask=moving, other=0.0)
        one, two = load_moment(first, i, moving), load_moment(second, i, moving)
        three = load_moment(third, i, moving)
        row = row_of(rows, groups, group)
        w, one, two, three = moved(w, g, one, two, three, row, RULE)
        tl.store(parameters + i, w, mask=moving)
        tl.store(first + i, one, mask=moving)
        if second is not None:
            tl.store(second + i, two, mask=moving)
        if third is not None:
            tl.store(third + i, three, mask=moving)
        if ZERO:
            tl.store(gradients + i, tl.zeros_like(g), mask=inside)


@triton.jit(do_not_specialize=["size"])
def squares_kernel(
    parameters, gradients, first, second, third, sums,
    step, rows, groups, limits, variables, squares, size, GROUPS: tl.constexpr,
    VARIABLES: tl.constexpr, NORM: tl.constexpr, VALUE: tl.constexpr,
    PARTS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sum the squares of a block of gradients, for the kernel that follows."""
    part = tl.program_id(0)
    state = parameters, gradients, first, second, third, sums
    settings = rows + tl.load(step) * (GROUPS * COLUMNS), groups, limits, variables, squares
    start = part * BLOCK
    stop = tl.minimum(start + BLOCK, size)
    sum_squares(state, settings, start, stop, part, VARIABLES, NORM, VALUE, PARTS, PADDED, BLOCK)


@triton.jit(do_not_specialize=["size"])
def update_kernel(
    parameters, gradients, first, second, third, sums,
    step, rows, groups, limits, variables, squares, size, GROUPS: tl.constexpr,
    RULE: tl.constexpr, NORM: tl.constexpr, VALUE: tl.constexpr, VARIABLES: tl.constexpr,
    ZERO: tl.constexpr, PARTS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Move a block of parameters by a step; see ``triton_update.update``."""
    state = parameters, gradients, first, second, third, sums
    settings = rows + tl.load(step) * (GROUPS * COLUMNS), groups, limits, variables, squares
    start = tl.program_id(0) * BLOCK
    stop = tl.minimum(start + BLOCK, size)
    update(state, settings, start, stop, RULE, NORM, VALUE, VARIABLES, ZERO, PARTS, PADDED, BLOCK)
