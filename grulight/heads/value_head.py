"""The head whose answers are numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from grulight.heads.base import Columns, Head, per_name

LOG_2 = 0.6931471824645996  # as float32 has it, which Keras takes for float64 too


@dataclass(frozen=True)
class ValueHead(Head):
    """Numbers and the mean of their errors, as Keras' loss of that name computes it."""

    metric = "mae"
    error: Literal["mean_squared_error", "mean_absolute_error", "huber", "log_cosh"] = (
        "mean_squared_error"
    )
    delta: float = 1.0  # where Huber's error goes over from squares to absolutes

    @property
    def _things(self) -> str:
        return f"{self.size} value{'s' * (self.size > 1)}"

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the mean error of all values."""
        targets = targets.to(answers.dtype)
        if self.error == "huber":
            return F.huber_loss(answers, targets, delta=self.delta)
        if self.error == "log_cosh":
            difference = answers - targets
            return (difference + F.softplus(-2 * difference) - LOG_2).mean()
        error = F.mse_loss if self.error == "mean_squared_error" else F.l1_loss
        return error(answers, targets)

    def metric_sum(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the absolute errors, each the mean of an answer's values."""
        return F.l1_loss(answers.detach(), targets.to(answers.dtype), reduction="sum") / self.size

    def prediction(self, answers: Tensor, *, from_logits: bool = True) -> Tensor:
        """Return the values themselves."""
        return answers

    def columns(self, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return a column per value."""
        return per_name("value_", predicted, names)
