"""What a network's answers mean: their loss, their metric, and what they predict.

An answer belongs to a sequence or to a time step; the arithmetic is the same for both. Shapes: B
sequences, S steps, K numbers in an answer, C classes; M answers that count, of all B or B · S.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat
from torch.nn import functional as F

from grulight.errors import InputError
from grulight.logits import classification_loss, predicted_classes, probabilities, smoothed

Columns = dict[str, NDArray[Any]]
LOG_2 = 0.6931471824645996  # as float32 has it, which Keras takes for float64 too


class Score(NamedTuple):
    """How good a batch of answers is.

    Attributes:
        loss: Mean over the answers that count.
        metric: Sum over them.
        counted: How many count.
    """

    loss: Tensor
    metric: Tensor
    counted: int


@dataclass(frozen=True)
class Head(ABC):
    """One kind of answer.

    Attributes:
        size: Numbers in an answer, K.
        per_step: Whether there is an answer for each step.
    """

    size: int
    per_step: bool = False

    metric: ClassVar[str]  # what it is logged as

    @property
    def num_classes(self) -> int:
        """Classes that are told apart; 0 where the answer is another."""
        return 0

    @property
    def num_names(self) -> int:
        """How many things have a name: the classes, or the numbers of an answer."""
        return self.num_classes or self.size

    @property
    def words(self) -> str:
        """The answers in words, such as "3 values per step"."""
        return f"{self._things} per {'step' if self.per_step else 'sequence'}"

    @property
    @abstractmethod
    def _things(self) -> str: ...

    def score(self, answers: Tensor, targets: Tensor, valid: Tensor | None = None) -> Score:
        """Compare answers with targets, as Keras reduces them: the mean over all that count.

        Args:
            answers: (B, K) or (B, S, K).
            targets: (B,) or (B, S) classes; (B, K) or (B, S, K) values.
            valid: (B, S), which steps count; None for all.

        Raises:
            InputError: The shapes do not fit each other.
        """
        expected = answers.shape[:-1] if self.num_classes else answers.shape
        if targets.shape != expected:
            raise InputError(
                f"the model answers with {tuple(expected[1:])} per sequence, but the data have "
                f"labels {tuple(targets.shape[1:])}. Expected the same steps and values."
            )
        if valid is not None:
            answers, targets = answers[valid], targets[valid]
        elif self.per_step:
            answers, targets = answers.flatten(0, 1), targets.flatten(0, 1)
        return Score(self.loss(answers, targets), self.metric_sum(answers, targets), len(answers))

    @abstractmethod
    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of answers (M, K)."""

    @abstractmethod
    def metric_sum(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the metric summed over answers (M, K)."""

    @abstractmethod
    def prediction(self, answers: Tensor, *, from_logits: bool = True) -> Tensor:
        """Return what is predicted (..., C or K) from answers, logits or already probabilities."""

    @abstractmethod
    def columns(self, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return predictions (M, C or K) as the columns of a table."""


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

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy."""
        return classification_loss(answers, targets, self.label_smoothing)

    def metric_sum(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return how many are right."""
        return (predicted_classes(answers) == targets).sum()

    def prediction(self, answers: Tensor, *, from_logits: bool = True) -> Tensor:
        """Return the probability of each class."""
        if from_logits:
            return probabilities(answers)
        return cat((1 - answers, answers), dim=-1) if self.size == 1 else answers

    def columns(self, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return the most probable class and a probability per class."""
        each = _per_name("probability_", predicted, names)
        return {"predicted": np.array(names)[predicted.argmax(axis=1)], **each}


@dataclass(frozen=True)
class LabelHead(Head):
    """Several labels, each of which holds or does not: sigmoids and binary cross entropy."""

    metric = "accuracy"
    label_smoothing: float = 0.0  # as Keras' losses take it

    @property
    def _things(self) -> str:
        return f"{self.size} labels"

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the mean binary cross entropy of all labels."""
        targets = targets.to(answers.dtype)
        if ((targets < 0) | (targets > 1)).any():
            raise InputError(
                "the model says which labels hold, but the data have values beyond 0 to 1. "
                "Expected 1 where a label holds and 0 where not."
            )
        targets = smoothed(targets, self.label_smoothing)
        return F.binary_cross_entropy_with_logits(answers, targets)

    def metric_sum(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the share of labels that are right, as Keras' binary accuracy counts them."""
        return ((answers > 0) == (targets == 1)).sum() / self.size

    def prediction(self, answers: Tensor, *, from_logits: bool = True) -> Tensor:
        """Return the probability of each label."""
        return answers.sigmoid() if from_logits else answers

    def columns(self, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return a probability per label."""
        return _per_name("probability_", predicted, names)


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
        return _per_name("value_", predicted, names)


def _per_name(prefix: str, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
    return {f"{prefix}{name}": column for name, column in zip(names, predicted.T, strict=True)}
