"""The optimisers' rules, operation by operation, over flat parameters, gradients and moments.

Keras' are those of ``grulight.optim``, the others those of ``torch.optim``. Settings are a row for
each group of parameters, in which each rule has what it needs at columns that ``rules`` names.
"""

from typing import Any

import numpy as np

from grulight.kernels.numba_cache import jit
from grulight.kernels.rules import (
    ADAM,
    DECAY,
    EPSILON,
    FLAG,
    KEPT,
    KERAS_ADAM,
    KERAS_RMSPROP,
    KERAS_SGD,
    MOMENTUM,
    NEW,
    NEW_SQUARE,
    RATE,
    RMSPROP,
    ROOT,
    SHRUNK,
    STEP_SIZE,
    SUMMED,
    WAITS,
)


@jit
def keras_adam(w: Any, g: Any, means: Any, squares: Any, largest: Any, row: Any) -> None:
    """Move parameters as ``grulight.optim.KerasAdam`` does."""
    new, new_square, epsilon = row[NEW], row[NEW_SQUARE], row[EPSILON]
    decay, lr, alpha, amsgrad = row[DECAY], row[RATE], row[STEP_SIZE], row[FLAG]
    for i in range(w.size):
        if decay:
            w[i] -= w[i] * decay * lr
        gradient = g[i]
        means[i] += (gradient - means[i]) * new
        squares[i] += (gradient * gradient - squares[i]) * new_square
        square = squares[i]
        if amsgrad:
            square = largest[i] = max(largest[i], square)
        w[i] -= means[i] * alpha / (np.sqrt(square) + epsilon)


@jit
def adam(w: Any, g: Any, means: Any, squares: Any, largest: Any, row: Any) -> None:
    """Move parameters as ``torch.optim.Adam`` and ``AdamW`` do, which shrinks them first."""
    new, kept, new_square, epsilon = row[NEW], row[KEPT], row[NEW_SQUARE], row[EPSILON]
    decay, shrunk, size, root = row[DECAY], row[SHRUNK], row[STEP_SIZE], row[ROOT]
    amsgrad = row[FLAG]
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        weight = w[i] * shrunk
        means[i] += (gradient - means[i]) * new
        squares[i] = squares[i] * kept + gradient * gradient * new_square
        square = squares[i]
        if amsgrad:
            square = largest[i] = max(largest[i], square)
        w[i] = weight - size * (means[i] / (np.sqrt(square) / root + epsilon))


@jit
def keras_rmsprop(w: Any, g: Any, squares: Any, moves: Any, means: Any, row: Any) -> None:
    """Move parameters as ``grulight.optim.KerasRMSprop`` does."""
    kept, new, epsilon, lr = row[KEPT], row[NEW_SQUARE], row[EPSILON], row[RATE]
    decay, momentum, centered = row[DECAY], row[MOMENTUM], row[FLAG]
    for i in range(w.size):
        if decay:
            w[i] -= w[i] * decay * lr
        gradient = g[i]
        squares[i] = squares[i] * kept + gradient * gradient * new
        square = squares[i]
        if centered:
            means[i] = means[i] * kept + gradient * new
            square -= means[i] * means[i]
        move = gradient * lr / np.sqrt(square + epsilon)
        if momentum:
            moves[i] = moves[i] * momentum + move
            move = moves[i]
        w[i] -= move


@jit
def rmsprop(w: Any, g: Any, squares: Any, moves: Any, means: Any, row: Any) -> None:
    """Move parameters as ``torch.optim.RMSprop`` does."""
    kept, new, epsilon, lr = row[KEPT], row[NEW_SQUARE], row[EPSILON], row[RATE]
    decay, momentum, centered = row[DECAY], row[MOMENTUM], row[FLAG]
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        squares[i] = squares[i] * kept + gradient * gradient * new
        square = squares[i]
        if centered:
            means[i] += (gradient - means[i]) * new
            square -= means[i] * means[i]
        move = gradient / (np.sqrt(square) + epsilon)
        if momentum:
            moves[i] = moves[i] * momentum + move
            move = moves[i]
        w[i] -= lr * move


@jit
def keras_sgd(w: Any, g: Any, velocity: Any, row: Any) -> None:
    """Move parameters as ``grulight.optim.KerasSGD`` does."""
    lr, decay, momentum, nesterov = row[RATE], row[DECAY], row[MOMENTUM], row[FLAG]
    for i in range(w.size):
        if decay:
            w[i] -= w[i] * decay * lr
        move = -lr * g[i]
        if momentum:
            velocity[i] = velocity[i] * momentum + move
            move = velocity[i] * momentum + move if nesterov else velocity[i]
        w[i] += move


@jit
def sgd(w: Any, g: Any, kept: Any, row: Any) -> None:
    """Move parameters as ``torch.optim.SGD`` does."""
    lr, decay, momentum, nesterov, new = row[RATE], row[DECAY], row[MOMENTUM], row[FLAG], row[NEW]
    for i in range(w.size):
        move = g[i] + decay * w[i]
        if momentum:
            kept[i] = kept[i] * momentum + move * new
            move = move + momentum * kept[i] if nesterov else kept[i]
        w[i] -= lr * move


@jit
def summed(gradients: Any, sums: Any, row: Any) -> bool:
    """Turn gradients into the mean over batches; return whether there are more of these to come."""
    count = row[SUMMED]
    if count:
        for i in range(sums.size):
            sums[i] += gradients[i]
        if row[WAITS]:
            return True
        for i in range(sums.size):
            gradients[i] = sums[i] / count
            sums[i] = 0
    return False


@jit
def clip(gradients: Any, edges: Any, groups: Any, norm: float, value: float) -> None:
    """Limit gradients as ``torch.nn.utils.clip_grad_norm_`` or ``clip_grad_value_``; 0 for not."""
    kind = gradients.dtype.type
    total = 0.0
    if norm:
        for p in range(groups.size):
            if groups[p] >= 0:
                for i in range(edges[p], edges[p + 1]):
                    total += np.float64(gradients[i]) * gradients[i]
    share = norm / (np.sqrt(total) + 1e-6)
    for p in range(groups.size):
        if groups[p] >= 0:
            for i in range(edges[p], edges[p + 1]):
                if norm and not share >= 1:
                    gradients[i] *= kind(share)
                if value:
                    gradients[i] = min(max(gradients[i], kind(-value)), kind(value))


@jit
def clip_variables(gradients: Any, edges: Any, variables: Any, limit: float) -> None:
    """Limit the norm of each variable's gradient as Keras' ``clipnorm`` does; 0 for not."""
    kind = gradients.dtype.type
    for variable in range(np.max(variables) + 1 if limit else 0):
        total = 0.0
        for p in range(variables.size):
            if variables[p] == variable:
                for i in range(edges[p], edges[p + 1]):
                    total += np.float64(gradients[i]) * gradients[i]
        share = kind(limit / max(np.sqrt(total), limit))
        for p in range(variables.size):
            if variables[p] == variable:
                for i in range(edges[p], edges[p + 1]):
                    gradients[i] *= share


@jit
def update(
    parameters: Any, gradients: Any, first: Any, second: Any, third: Any,
    edges: Any, groups: Any, rule: int, rows: Any,
) -> None:  # fmt: skip
    """Move the parameters by one step.

    Args:
        parameters: Flat, moved in place.
        gradients: Flat.
        first: Moments, moved in place: Adam's mean, RMSprop's square, SGD's velocity.
        second: Adam's square, RMSprop's momentum.
        third: RMSprop's mean, Adam's largest square.
        edges: Where each parameter starts, and where the last one ends.
        groups: The row of each parameter; below zero for one that stays.
        rule: Which.
        rows: (groups, COLUMNS).
    """
    first_of = 0
    for p in range(groups.size):
        row = groups[p]
        if p + 1 < groups.size and groups[p + 1] == row:
            continue  # neighbours in one group are moved together
        at, first_of = slice(edges[first_of], edges[p + 1]), p + 1
        w, g, one, two = parameters[at], gradients[at], first[at], second[at]
        if row < 0:
            continue
        if rule == KERAS_ADAM:
            keras_adam(w, g, one, two, third[at], rows[row])
        elif rule == ADAM:
            adam(w, g, one, two, third[at], rows[row])
        elif rule == KERAS_RMSPROP:
            keras_rmsprop(w, g, one, two, third[at], rows[row])
        elif rule == RMSPROP:
            rmsprop(w, g, one, two, third[at], rows[row])
        elif rule == KERAS_SGD:
            keras_sgd(w, g, one, rows[row])
        else:
            sgd(w, g, one, rows[row])
