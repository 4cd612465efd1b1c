"""The head whose answers are numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, device, dtype, inference_mode, tensor
from torch.nn import functional as F

from grulight.heads.base import Columns, Head, per_name, weighted_mean

LOG_2 = 0.6931471824645996  # as float32 has it, which Keras takes for float64 too


@dataclass(frozen=True)
class ValueHead(Head):
    """Numbers and the mean of their errors, as Keras' loss of that name computes it.

    Attributes:
        error: Which.
        delta: Where Huber's error goes over from squares to absolutes.
        mean: Of each value in training, (K,): the network answers with values less this, divided by
            the scale, and its loss is of these; what is predicted and measured is not.
        scale: Deviation of each value in training, (K,); empty like the mean for no scaling.
    """

    metric = "mae"
    error: Literal["mean_squared_error", "mean_absolute_error", "huber", "log_cosh"] = (
        "mean_squared_error"
    )
    delta: float = 1.0
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    @property
    def _things(self) -> str:
        return f"{self.size} value{'s' * (self.size > 1)}"

    def scaled(self, targets: Tensor, kind: dtype) -> Tensor:
        """Return targets (..., K) as the network answers."""
        targets = targets.to(kind)
        if not self.mean:
            return targets
        return (targets - self._constant("mean", targets)) / self._constant("scale", targets)

    def _constant(self, name: Literal["mean", "scale"], like: Tensor) -> Tensor:
        return _on_device(getattr(self, name), like.dtype, like.device)

    def loss(self, answers: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean error of all values, as the network answers."""
        targets = self.scaled(targets, answers.dtype)
        if weights is None:
            return self._errors(answers, targets, "mean")
        return weighted_mean(self._errors(answers, targets, "none"), weights)

    def _errors(
        self, answers: Tensor, targets: Tensor, reduction: Literal["mean", "none"]
    ) -> Tensor:
        if self.error == "huber":
            return F.huber_loss(answers, targets, delta=self.delta, reduction=reduction)
        if self.error == "log_cosh":
            difference = answers - targets
            each = difference + F.softplus(-2 * difference) - LOG_2
            return each.mean() if reduction == "mean" else each
        error = F.mse_loss if self.error == "mean_squared_error" else F.l1_loss
        return error(answers, targets, reduction=reduction)

    def metric_sum(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the absolute errors, each the mean of an answer's values."""
        predicted = self.prediction(answers.detach())
        return F.l1_loss(predicted, targets.to(answers.dtype), reduction="sum") / self.size

    def metrics(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the absolute error of each answer, the mean of its values'."""
        predicted = self.prediction(answers.detach())
        errors = F.l1_loss(predicted, targets.to(answers.dtype), reduction="none")
        return errors.sum(-1) / self.size

    def prediction(self, answers: Tensor, *, from_logits: bool = True) -> Tensor:
        """Return the values themselves."""
        if not self.mean:
            return answers
        return answers * self._constant("scale", answers) + self._constant("mean", answers)

    def averaged(self, answers: Tensor) -> Tensor:
        """Return the mean, which is of the values too: all are scaled alike."""
        return answers.mean(0)

    def columns(self, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return a column per value."""
        return per_name("value_", predicted, names)

    def spread_columns(self, deviations: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return a column per value: their units need not be the same."""
        return per_name("disagreement_", deviations, names)


@lru_cache(maxsize=32)
def _on_device(numbers: tuple[float, ...], kind: dtype, where: device) -> Tensor:
    """Return constants as a tensor, the same each time: a step must not wait for their copying."""
    with inference_mode(mode=False):
        return tensor(numbers, dtype=kind, device=where)
