"""What a classifier answers for a bounded number of sequences, and which of them to look at."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from grulight.data.batches import Batches
from grulight.data.datamodule import Parts
from grulight.data.sequences import Sequences
from grulight.evaluation import Confusion
from grulight.heads import classification_loss, probabilities
from grulight.task import GRUClassifier
from grulight.trace.recorder import PARTS

# what keeps a page quick to make: a million sequences are sampled
MOST_SEQUENCES, MOST_STEPS, MOST_NUMBERS = 10_000, 2_000_000, 20_000_000
_BATCH = 256

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """The answers for N sequences of a part.

    Attributes:
        name: What the part is called.
        part: The whole part.
        positions: (N,) places of the sequences within the part.
        labels: (N,).
        probabilities: (N, C).
        loss: Mean cross entropy.
    """

    name: str
    part: Sequences
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: Floats
    loss: float

    @property
    def finite(self) -> bool:
        """Whether the classifier answers with numbers."""
        return bool(np.isfinite(self.probabilities).all())

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) most probable classes."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confidence(self) -> Floats:
        """(N,) probabilities of the most probable classes."""
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether the answer is the label."""
        return np.asarray(self.predicted == self.labels)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())

    @cached_property
    def confusion(self) -> Confusion:
        """Count sequences by true class and predicted class."""
        classes = self.probabilities.shape[1]
        pairs = np.bincount(self.labels * classes + self.predicted, minlength=classes**2)
        return pairs.reshape(classes, classes).astype(np.int64)

    @property
    def counted(self) -> str:
        """How many sequences were asked about, in few words."""
        count = len(self.positions)
        return f"{'all ' if count == len(self.part) else ''}{count:,} {self.name} sequences"

    @property
    def sampled(self) -> str:
        """How many sequences were asked about, in words."""
        count, total = len(self.positions), len(self.part)
        if count == total:
            return self.counted
        return f"{count:,} of {total:,} {self.name} sequences, evenly spaced"


def ask(classifier: GRUClassifier, parts: Parts) -> Answers:
    """Ask about the test part; where it is empty, about validation or training."""
    named = dict(zip(PARTS, parts, strict=True))
    name = next(name for name in reversed(PARTS) if len(named[name]))
    part = named[name]
    assert part.labels is not None
    positions = _sample(part)
    chosen = replace(
        part,
        values=part.values[positions],
        lengths=part.lengths[positions],
        labels=part.labels[positions],
        ids=part.ids[positions],
    )
    like = next(classifier.parameters())
    found = []
    with torch.inference_mode():
        for batch in Batches(chosen, _BATCH):
            lengths = None if batch.lengths is None else batch.lengths.to(like.device)
            found.append(classifier(batch.values.to(like), lengths).float().cpu())
        logits = torch.cat(found)
        loss = float(classification_loss(logits, torch.tensor(chosen.labels)))
        shares = probabilities(logits).numpy()
    labels = np.asarray(part.labels[positions], np.int64)
    return Answers(name, part, positions, labels, shares, loss)


def _sample(part: Sequences) -> NDArray[np.int64]:
    _, steps, features = part.values.shape
    most = min(MOST_SEQUENCES, MOST_STEPS // steps, MOST_NUMBERS // (steps * features))
    count = min(len(part), max(most, 100))
    return np.unique(np.linspace(0, len(part) - 1, count).round().astype(np.int64))


@dataclass(frozen=True)
class Choice:
    """A sequence to look at.

    Attributes:
        why: What makes it worth a look.
        position: Its place within the answers.
    """

    why: str
    position: int


def choices(answers: Answers) -> list[Choice]:
    """Choose the surest right and wrong ones, the closest call, and one of each class."""
    found = []
    right, confidence = answers.right, answers.confidence
    if right.any():
        found.append(Choice("surest right", int(np.where(right, confidence, -1).argmax())))
    if not right.all():
        found.append(Choice("surest wrong", int(np.where(right, -1, confidence).argmax())))
    first_two = np.sort(answers.probabilities, axis=1)[:, -2:]
    closest = int((first_two[:, 1] - first_two[:, 0]).argmin())
    found.append(Choice("nearest to the boundary", closest))
    for label, name in enumerate(answers.part.class_names):
        of_class = np.flatnonzero(answers.labels == label)
        if len(of_class):
            taken = [choice.position for choice in found]
            fresh = np.setdiff1d(of_class, taken)
            found.append(Choice(f"one of “{name}”", int((fresh if len(fresh) else of_class)[0])))
    return found
