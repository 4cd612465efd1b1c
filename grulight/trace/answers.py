"""What a classifier answers for a bounded number of sequences, and which of them to look at."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Labels, Sequences
from grulight.data.splitting import Parts
from grulight.trace.templates import Context

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """A sequence to look at.

    Attributes:
        why: What makes it worth a look.
        position: Its place within the answers.
    """

    why: str
    position: int


@dataclass(frozen=True)
class Answers(ABC):
    """M answers, of N sequences of a part: one for each, or one for each of their steps.

    There is a subclass for each kind of head. C counts classes, labels or values.

    Attributes:
        name: What the part is called.
        part: The whole part.
        positions: (N,) places of the sequences within the part.
        targets: (M,) classes or (M, C) values.
        predicted: (M, C) probabilities or values.
        loss: Its mean.
        names: C names.
        sequences: (M,) which of the N sequences an answer belongs to.
        per_step: Whether it belongs to a step of it.
        loss_words: What the loss is.
    """

    kind: ClassVar[str]  # names the template and what the script draws
    metric: ClassVar[str]  # as it is logged
    metric_words: ClassVar[tuple[str, str]]  # as it is called, and what it counts

    name: str
    part: Sequences
    positions: NDArray[np.int64]
    targets: Labels
    predicted: Floats
    loss: float
    names: tuple[str, ...] = ()
    sequences: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    per_step: bool = False
    loss_words: str = "cross entropy (nats)"

    @property
    def finite(self) -> bool:
        """Whether the classifier answers with numbers."""
        return bool(np.isfinite(self.predicted).all())

    @property
    def unit(self) -> str:
        """What an answer belongs to."""
        return "step" if self.per_step else "sequence"

    @property
    def counted(self) -> str:
        """What was asked about, in few words."""
        count = len(self.positions)
        held = f"{'all ' if count == len(self.part) else ''}{count:,} {self.name} sequences"
        return f"the {len(self.targets):,} steps of {held}" if self.per_step else held

    @property
    def sampled(self) -> str:
        """What was asked about, in words."""
        count, total = len(self.positions), len(self.part)
        if count == total:
            return self.counted
        held = f"{count:,} of {total:,} {self.name} sequences, evenly spaced"
        return f"the {len(self.targets):,} steps of {held}" if self.per_step else held

    @property
    def at_every_step(self) -> str:
        """What a sentence about the model ends with, if anything."""
        return " at every step" if self.per_step else ""

    @property
    def deviations(self) -> list[float]:
        """By what errors of each value are divided to compare them; none but values have any."""
        return []

    def choices(self) -> list[Choice]:
        """Choose sequences to look at."""
        count = len(self.positions)
        counts = np.maximum(np.bincount(self.sequences, minlength=count), 1)
        each = np.bincount(self.sequences, self.closeness, minlength=count) / counts
        order = np.argsort(-each, kind="stable")
        picked = (("closest to the truth", 0), ("in the middle", count // 2))
        return [
            Choice(why, int(order[at])) for why, at in (*picked, ("farthest from it", count - 1))
        ]

    @property
    @abstractmethod
    def does(self) -> str:
        """What the model does, as the end of a sentence."""

    @property
    @abstractmethod
    def score(self) -> float:
        """The metric."""

    @property
    @abstractmethod
    def result(self) -> str:
        """How good the answers are, as a sentence without its full stop."""

    @property
    @abstractmethod
    def without(self) -> str:
        """How good one would be without reading the sequence, likewise."""

    @property
    @abstractmethod
    def gains(self) -> NDArray[np.floating]:
        """(M,) by how much each answer is better than such a one."""

    @property
    def idle(self) -> bool:
        """Whether the answers are no better than those."""
        return bool(self.gains.mean() <= 0)

    @property
    def by_chance(self) -> bool:
        """Whether they are better by no more than two deviations over draws of sequences."""
        count, gain = len(self.positions), self.gains.mean()
        around = np.bincount(self.sequences, self.gains - gain, minlength=count)
        deviation = np.sqrt((around**2).sum()) / len(self.targets)
        return bool(self.idle or gain <= 2 * deviation)

    @property
    @abstractmethod
    def closeness(self) -> NDArray[np.floating]:
        """(M,) how close each answer is to the truth; more is closer."""

    @property
    @abstractmethod
    def question(self) -> str:
        """A question about a sequence, which stands in place of ``{}``."""

    @property
    @abstractmethod
    def represents(self) -> str:
        """What the numbers of an answer are, in sentences."""

    @property
    @abstractmethod
    def doubt(self) -> tuple[str, str]:
        """A question about the answers, and its answer."""

    @abstractmethod
    def balance(self, parts: Parts) -> Context:
        """Return what the template says of the labels in each part."""

    @abstractmethod
    def evaluation(self) -> Context:
        """Return what the template says of the answers."""

    @abstractmethod
    def truth(self, targets: Labels) -> Floats:
        """Return targets (A,) or (A, C) in the form of answers, (A, C)."""

    @abstractmethod
    def short(self, answers: Floats, truth: Floats) -> str:
        """Say in a few words what became of a sequence with answers (A, C)."""

    @abstractmethod
    def tells(self, answers: Floats, truth: Floats, steps: NDArray[np.int64]) -> str:
        """Say what a sequence is answered, at each of the steps (A,) or once for all (1,)."""
