"""The head whose answers are labels, each of which holds or does not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from grulight.errors import InputError
from grulight.heads.base import Columns, Head, per_name, weighted_mean
from grulight.logits import averaged_sigmoids, smoothed


@dataclass(frozen=True)
class LabelHead(Head):
    """Several labels, each of which holds or does not: sigmoids and binary cross entropy."""

    metric = "accuracy"
    label_smoothing: float = 0.0  # as Keras' losses take it

    @property
    def _things(self) -> str:
        return f"{self.size} labels"

    def require_targets(self, targets: Tensor) -> None:
        """Check that labels hold or do not.

        Raises:
            InputError: There are other numbers.
        """
        if ((targets < 0) | (targets > 1)).any():
            raise InputError(
                "the model says which labels hold, but the data have values beyond 0 to 1. "
                "Expected 1 where a label holds and 0 where not."
            )

    def loss(self, answers: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean binary cross entropy of all labels."""
        targets = smoothed(targets.to(answers.dtype), self.label_smoothing)
        if weights is None:
            return F.binary_cross_entropy_with_logits(answers, targets)
        losses = F.binary_cross_entropy_with_logits(answers, targets, reduction="none")
        return weighted_mean(losses, weights)

    def metric_sum(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the share of labels that are right, as Keras' binary accuracy counts them."""
        return _right(answers, targets).sum().to(answers.dtype) / self.size

    def metrics(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the share of each answer's labels that are right."""
        return _right(answers, targets).sum(-1).to(answers.dtype) / self.size

    def prediction(self, answers: Tensor, *, from_logits: bool = True) -> Tensor:
        """Return the probability of each label."""
        return answers.sigmoid() if from_logits else answers

    def averaged(self, answers: Tensor) -> Tensor:
        """Return the logits of the mean of the probabilities."""
        return averaged_sigmoids(answers)

    def columns(self, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return a probability per label."""
        return per_name("probability_", predicted, names)


def _right(answers: Tensor, targets: Tensor) -> Tensor:
    """Return which labels are right, (M, K)."""
    return (answers > 0) == (targets == 1)
