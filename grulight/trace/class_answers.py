"""Answers that name one of several classes."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Labels
from grulight.data.splitting import Parts
from grulight.trace.answers import Answers, Choice, Floats
from grulight.trace.commentary import joined, listing, percent
from grulight.trace.label_counts import count_table
from grulight.trace.scores import belief, class_scores
from grulight.trace.templates import Context
from grulight.training.confusion import Confusion

_MOST_CLASSES = 60  # in the confusion matrix


class ClassAnswers(Answers):
    """Probabilities of classes, one of which is right."""

    kind = "classes"
    metric = "accuracy"
    metric_words = ("Accuracy", "share named right")

    @cached_property
    def named(self) -> NDArray[np.int64]:
        """(M,) most probable classes."""
        return np.asarray(self.predicted.argmax(axis=1))

    @cached_property
    def confidence(self) -> Floats:
        """(M,) probabilities of the most probable classes."""
        return np.asarray(self.predicted.max(axis=1))

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """(M,) whether the answer is the label."""
        return np.asarray(self.named == self.targets)

    @cached_property
    def confusion(self) -> Confusion:
        """Count answers by true class and predicted class."""
        classes = self.predicted.shape[1]
        pairs = np.bincount(self.targets * classes + self.named, minlength=classes**2)
        return pairs.reshape(classes, classes).astype(np.int64)

    @property
    def does(self) -> str:
        """Name the classes."""
        if self.per_step:
            return f"tells {listing(self.names, 'classes')} apart at every step"
        return f"tells {listing(self.names, 'classes')} apart"

    @property
    def score(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())

    @property
    def result(self) -> str:
        """Say how many are right."""
        return f"{percent(self.score)} of {self.counted} are named right"

    @property
    def without(self) -> str:
        """Say how many the most frequent class has."""
        return f"always naming the most frequent class would reach {percent(self._often)}"

    @property
    def _often(self) -> float:
        return float(np.bincount(self.targets).max() / len(self.targets))

    @property
    def gains(self) -> NDArray[np.floating]:
        """(M,) 1 where it is right and the most frequent class is not, -1 the other way round."""
        most = np.bincount(self.targets).argmax()
        return np.asarray(self.right * 1.0 - (self.targets == most))

    @property
    def closeness(self) -> NDArray[np.floating]:
        """(M,) probabilities of the true classes."""
        return np.asarray(self.predicted[np.arange(len(self.targets)), self.targets])

    @property
    def question(self) -> str:
        """Ask which class, or how many steps."""
        if self.per_step:
            return "How many steps of {} are named right?"
        return "Which class does {} get, and why?"

    @property
    def represents(self) -> str:
        """Explain probabilities."""
        return (
            "The probability of each class: they add up to 1. Guessing would give each "
            f"{percent(1 / len(self.names))}."
        )

    @property
    def doubt(self) -> tuple[str, str]:
        """Ask whether it is as right as it is sure."""
        return (
            "How sure is the model of its answers, and is it right as often?",
            f"On average it gives its answer {percent(float(self.confidence.mean()))}; it is right "
            f"in {percent(self.score)} of cases.",
        )

    def choices(self) -> list[Choice]:
        """Choose the surest right and wrong ones, the closest call, and one of each class."""
        if self.per_step:
            return super().choices()
        found = []
        right, confidence = self.right, self.confidence
        if right.any():
            found.append(Choice("surest right", int(np.where(right, confidence, -1).argmax())))
        if not right.all():
            found.append(Choice("surest wrong", int(np.where(right, -1, confidence).argmax())))
        first_two = np.sort(self.predicted, axis=1)[:, -2:]
        closest = int((first_two[:, 1] - first_two[:, 0]).argmin())
        found.append(Choice("nearest to the boundary", closest))
        for label, name in enumerate(self.names):
            of_class = np.flatnonzero(self.targets == label)
            if len(of_class):
                taken = [choice.position for choice in found]
                fresh = np.setdiff1d(of_class, taken)
                first = int((fresh if len(fresh) else of_class)[0])
                found.append(Choice(f"one of “{name}”", first))
        return found

    def balance(self, parts: Parts) -> Context:
        """Count the sequences or steps of each class."""
        count = len(self.names)
        title = f"{self.unit.capitalize()}s of each class"
        return count_table(
            title, "Class", parts, self.names, lambda each: np.bincount(each, minlength=count)
        )

    def evaluation(self) -> Context:
        """Return confusion matrix, precision, recall and calibration."""
        return {
            "scores": class_scores(self.confusion, self.names),
            "matrix": len(self.names) <= _MOST_CLASSES,
            **belief(self.confidence, self.right),
        }

    def truth(self, targets: Labels) -> Floats:
        """Return one-hot rows."""
        return np.eye(len(self.names), dtype=np.float32)[targets]

    def short(self, answers: Floats, truth: Floats) -> str:
        """Name the true class, and the answer where it is another."""
        named, true = answers.argmax(axis=1), truth.argmax(axis=1)
        if self.per_step:
            return f"{(named == true).sum()} of {len(true)} steps right"
        arrow = "" if named[-1] == true[-1] else f" → {self.names[named[-1]]}"
        return f"{self.names[true[-1]]}{arrow}, {percent(float(answers[-1].max()))}"

    def tells(self, answers: Floats, truth: Floats, steps: NDArray[np.int64]) -> str:
        """Say which class, how surely, and since when; of steps how many are right."""
        named, true = answers.argmax(axis=1), truth.argmax(axis=1)
        if self.per_step:
            wrong = np.flatnonzero(named != true)
            shown = [
                f"step {steps[n] + 1} is called “{self.names[named[n]]}” instead of "
                f"“{self.names[true[n]]}”"
                for n in wrong[:3]
            ]
            text = f"It names {len(true) - len(wrong)} of {len(true)} steps right"
            return (
                f"{text}; {joined(shown)}{' …' if len(wrong) > 3 else ''}." if shown else f"{text}."
            )
        sure, first = percent(float(answers[-1].max())), named[-1]
        text = f"It gets “{self.names[first]}” with {sure}."
        if len(answers) > 1:
            others = np.flatnonzero(named != first)
            step = steps[others[-1] + 1] + 1 if len(others) else 1
            since = (
                f"since step {step} of {steps[-1] + 1}" if step > 1 else "from the first step on"
            )
            text += f" It has been the answer {since}."
        return text
