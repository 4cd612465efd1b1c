"""What stands behind a GRU: a linear layer, and the loss of each kind of answer, both ways.

The losses are those of ``grulight.heads``, row by row: an answer is a row of logits or values.

Legend: M answers, H hidden, C logits or values of one.
"""

from typing import Any

import numpy as np

from grulight.kernels.numba_cache import jit
from grulight.kernels.numba_gates import sigmoid

CLASSES, LABELS, VALUES = 0, 1, 2  # kinds of answers


@jit
def linear(last: Any, weight: Any, bias: Any, logits: Any) -> None:
    """Write the head's answers (M, C) for states (M, H), each sum in order of H."""
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
def to_predictions(logits: Any, answer: int, mean: Any, scale: Any) -> None:
    """Turn logits (M, C) into what they predict; two classes are told by the last column alone.

    ``mean`` and ``scale`` (C,) undo the scaling of values; empty for none.
    """
    one = logits.dtype.type(1)
    rows, columns = logits.shape
    for b in range(rows):
        row = logits[b]
        if answer == CLASSES and columns > 2:
            raise_to_shares(row)
        elif answer == CLASSES:
            second = sigmoid(row[1])
            row[0], row[1] = one - second, second
        elif answer == LABELS:
            for c in range(columns):
                row[c] = sigmoid(row[c])
        elif scale.size:
            for c in range(columns):
                row[c] = row[c] * scale[c] + mean[c]


@jit
def class_backward(row: Any, y: int, smoothing: Any) -> Any:
    """Return the cross entropy of a row of logits, and if it is right; turn it into derivatives."""
    kind, classes = row.dtype.type, row.size
    if classes == 1:
        logit = row[0]
        right = (logit > 0) == (y == 1)
        loss = binary_backward(row, 0, kind(y) * (kind(1) - smoothing) + smoothing * kind(0.5))
        return loss, np.float64(right)
    best = 0
    for c in range(1, classes):
        if row[c] > row[best]:
            best = c
    chosen, even = row[y], np.float64(0)
    if smoothing:
        for c in range(classes):
            even += row[c]
    shift = raise_to_shares(row)
    loss = np.float64(shift - chosen)
    if smoothing:
        loss += smoothing * (chosen - even / classes)
        for c in range(classes):
            row[c] -= smoothing / classes
    row[y] -= kind(1) - smoothing
    return loss, np.float64(best == y)


@jit
def binary_backward(row: Any, c: int, target: Any) -> Any:
    """Return the cross entropy of one logit and a target from 0 to 1; write its derivative."""
    logit = row[c]
    loss = max(logit, logit * 0) - logit * target + np.log1p(np.exp(-abs(logit)))
    row[c] = sigmoid(logit) - target
    return np.float64(loss)


@jit
def labels_backward(row: Any, targets: Any, smoothing: Any) -> Any:
    """Return the mean binary cross entropy of a row, and the share of labels that are right."""
    kind, size = row.dtype.type, row.size
    loss, right = 0.0, 0.0
    for c in range(size):
        right += (row[c] > 0) == (targets[c] == 1)
        target = targets[c] * (kind(1) - smoothing) + smoothing * kind(0.5)
        loss += binary_backward(row, c, target)
        row[c] /= kind(size)
    return loss / size, right / size


@jit
def values_backward(row: Any, targets: Any, scale: Any) -> Any:
    """Return the mean squared error of a row, and the mean absolute one in units of ``scale``."""
    kind, size = row.dtype.type, row.size
    loss, off = 0.0, 0.0
    for c in range(size):
        error = row[c] - targets[c]
        loss += error * error
        off += abs(error) * scale[c]
        row[c] = error * kind(2) / kind(size)
    return loss / size, off / size


@jit
def loss_backward(
    logits: Any, chosen: Any, classes: Any, numbers: Any, weights: Any, answer: int, smoothing: Any,
    scale: Any,
) -> Any:  # fmt: skip
    """Return the mean loss of answers, and the sum of their metric; turn them into derivatives.

    Args:
        logits: (M, C).
        chosen: (M,) whose targets these are, as rows of those that follow.
        classes: (R,) the classes that are right; empty where answers are labels or values.
        numbers: (R, C) labels, or values as the network answers.
        weights: (R,) by which each loss is multiplied; empty for 1.
        answer: Which kind.
        smoothing: Of classes and labels.
        scale: (C,) what a unit of each value stands for.
    """
    rows, columns = logits.shape
    count = logits.dtype.type(rows)
    loss, metric = 0.0, 0.0
    for m in range(rows):
        row, at = logits[m], chosen[m]
        if answer == CLASSES:
            its, right = class_backward(row, classes[at], smoothing)
        elif answer == LABELS:
            its, right = labels_backward(row, numbers[at], smoothing)
        else:
            its, right = values_backward(row, numbers[at], scale)
        if weights.size:
            its *= weights[at]
            for c in range(columns):
                row[c] *= weights[at]
        for c in range(columns):
            row[c] /= count
        loss += its
        metric += right
    return loss / rows, metric


@jit
def head_backward(
    d_logits: Any, last: Any, weight: Any, d_weight: Any, d_bias: Any, d_last: Any
) -> None:
    """Write the derivatives by the head's weights and its input, sums in order of the answers."""
    d_weight[:] = 0
    d_bias[:] = 0
    d_last[:] = 0
    for b in range(len(last)):
        for c in range(len(d_bias)):
            d_bias[c] += d_logits[b, c]
            for j in range(last.shape[1]):
                d_weight[c, j] += d_logits[b, c] * last[b, j]
                d_last[b, j] += d_logits[b, c] * weight[c, j]
