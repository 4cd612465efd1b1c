"""The head whose answers are classes, one of which is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat

from grulight.heads.base import Columns, Head, per_name, weighted_mean
from grulight.logits import (
    averaged_sigmoids,
    classification_loss,
    predicted_classes,
    probabilities,
)


@dataclass(frozen=True)
class ClassHead(Head):
    """One of several classes: softmax and cross entropy; two of a single logit: its sigmoid."""

    metric = "accuracy"
    label_smoothing: float = 0.0  # as Keras' losses take it

    @property
    def num_classes(self) -> int:
        """Classes that are told apart."""
        return max(2, self.size)

    @property
    def _things(self) -> str:
        return f"1 of {self.num_classes} classes"

    def loss(self, answers: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the cross entropy."""
        if weights is None:
            return classification_loss(answers, targets, self.label_smoothing)
        losses = classification_loss(answers, targets, self.label_smoothing, "none")
        return weighted_mean(losses[:, None], weights)

    def metric_sum(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return how many are right."""
        return self.metrics(answers, targets).sum()

    def metrics(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return which are right."""
        return predicted_classes(answers) == targets

    def prediction(self, answers: Tensor, *, from_logits: bool = True) -> Tensor:
        """Return the probability of each class."""
        if from_logits:
            return probabilities(answers)
        return cat((1 - answers, answers), dim=-1) if self.size == 1 else answers

    def averaged(self, answers: Tensor) -> Tensor:
        """Return the logits of the mean of the probabilities, summed as logarithms."""
        if self.size == 1:
            return averaged_sigmoids(answers)
        return answers.log_softmax(-1).logsumexp(0)

    def columns(self, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return the most probable class and a probability per class."""
        each = per_name("probability_", predicted, names)
        return {"predicted": np.array(names)[predicted.argmax(axis=1)], **each}
