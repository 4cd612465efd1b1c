"""Logits of classes: their loss, their probabilities, and the class that they name."""

from typing import Literal

from torch import Tensor, cat
from torch.nn import functional as F


def classification_loss(
    logits: Tensor,
    labels: Tensor,
    smoothing: float = 0.0,
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    """Return the mean cross entropy of logits (batch, label) and labels (batch,), or each.

    A single logit is that of the second class: binary cross entropy. Keras' losses of the same
    name with ``from_logits=True`` are the same function, and ``smoothing`` is their label
    smoothing: how much of each label is spread evenly over the classes.
    """
    if logits.shape[-1] == 1:
        targets = smoothed(labels.to(logits.dtype), smoothing)
        return F.binary_cross_entropy_with_logits(logits[:, 0], targets, reduction=reduction)
    return F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction=reduction)


def smoothed(targets: Tensor, smoothing: float) -> Tensor:
    """Return targets from 0 to 1, so much nearer to a half, as Keras smooths binary labels."""
    return targets * (1 - smoothing) + 0.5 * smoothing if smoothing else targets


def probabilities(logits: Tensor) -> Tensor:
    """Turn logits (..., label) into class probabilities (..., class)."""
    if logits.shape[-1] == 1:
        second = logits.sigmoid()
        return cat((1 - second, second), dim=-1)
    return logits.softmax(dim=-1)


def averaged_sigmoids(logits: Tensor) -> Tensor:
    """Return the logits (...) of the mean of the sigmoids of logits (M, ...).

    As logarithms, which stay finite where a sigmoid is rounded to 0 or 1.
    """
    return F.logsigmoid(logits).logsumexp(0) - F.logsigmoid(-logits).logsumexp(0)


def predicted_classes(logits: Tensor) -> Tensor:
    """Return the most probable class (...,) for logits (..., label)."""
    if logits.shape[-1] == 1:
        return (logits[..., 0] > 0).long()
    return logits.argmax(dim=-1)
