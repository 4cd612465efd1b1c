"""What every head has: it scores answers, turns them into predictions, and names these.

An answer belongs to a sequence or to a time step; the arithmetic is the same for both. Shapes: B
sequences, S steps, K numbers in an answer, C classes; M answers that count, of all B or B · S.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from grulight.errors import InputError

Columns = dict[str, NDArray[Any]]


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

    def score(
        self,
        answers: Tensor,
        targets: Tensor,
        valid: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Score:
        """Compare answers with targets, as Keras reduces them: the mean over all that count.

        Args:
            answers: (B, K) or (B, S, K).
            targets: (B,) or (B, S) classes; (B, K) or (B, S, K) values.
            valid: (B, S), which steps count; None for all.
            weights: (B,) or (B, S), by which the loss of each answer is multiplied; the mean still
                divides by how many count, as Keras' does. None for 1.

        Raises:
            InputError: The shapes do not fit each other.
        """
        self.require_shape(answers, targets)
        if weights is not None:
            weights = weights.reshape(*weights.shape, *(1,) * (answers.dim() - 1 - weights.dim()))
            weights = weights.expand(answers.shape[:-1])
        if valid is not None:
            answers, targets = answers[valid], targets[valid]
            weights = None if weights is None else weights[valid]
        elif self.per_step:
            answers, targets = answers.flatten(0, 1), targets.flatten(0, 1)
            weights = None if weights is None else weights.flatten()
        self.require_targets(targets)
        loss = self.loss(answers, targets, weights)
        return Score(loss, self.metric_sum(answers, targets), len(answers))

    def require_shape(self, answers: Tensor, targets: Tensor) -> None:
        """Check that there is a target for each answer.

        Raises:
            InputError: The shapes do not fit each other.
        """
        expected = answers.shape[:-1] if self.num_classes else answers.shape
        if targets.shape != expected:
            raise InputError(
                f"the model answers with {tuple(expected[1:])} per sequence, but the data have "
                f"labels {tuple(targets.shape[1:])}. Expected the same steps and values."
            )

    def require_targets(self, targets: Tensor) -> None:  # noqa: B027 - most take any number
        """Check the numbers of targets that count, which waits for their device.

        Raises:
            InputError: One has no meaning.
        """

    @abstractmethod
    def loss(self, answers: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean loss of answers (M, K), each multiplied by its weight (M,)."""

    @abstractmethod
    def metric_sum(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the metric summed over answers (M, K)."""

    @abstractmethod
    def metrics(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the metric of each of the answers (M, K)."""

    @abstractmethod
    def prediction(self, answers: Tensor, *, from_logits: bool = True) -> Tensor:
        """Return what is predicted (..., C or K) from answers, logits or already probabilities."""

    @abstractmethod
    def averaged(self, answers: Tensor) -> Tensor:
        """Return answers (..., K) whose prediction is the mean of those of answers (M, ..., K)."""

    @abstractmethod
    def columns(self, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return predictions (M, C or K) as the columns of a table."""

    def spread_columns(self, deviations: NDArray[np.floating], names: Sequence[str]) -> Columns:
        """Return how far several models disagree, from deviations (M, C or K), as columns."""
        return {"disagreement": deviations.max(axis=1)}


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of losses (M, …), each of which is multiplied by its weight (M,)."""
    return (losses.flatten(1).mean(1) * weights).mean()


def per_name(prefix: str, predicted: NDArray[np.floating], names: Sequence[str]) -> Columns:
    """Return a column for each number of the predictions (M, C or K), called by its name."""
    return {f"{prefix}{name}": column for name, column in zip(names, predicted.T, strict=True)}
