"""Answers that say of each of several labels whether it holds."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Labels
from grulight.data.splitting import Parts
from grulight.trace.answers import Answers, Floats
from grulight.trace.commentary import joined, listing, percent
from grulight.trace.label_counts import count_table
from grulight.trace.scores import belief, share
from grulight.trace.templates import Context


class LabelAnswers(Answers):
    """Probabilities of labels, any number of which hold."""

    kind = "labels"
    metric = "accuracy"
    metric_words = ("Accuracy", "share of labels right")

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """(M, C) which labels are right."""
        return np.asarray((self.predicted > 0.5) == (self.targets == 1))

    @property
    def does(self) -> str:
        """Count the labels."""
        return f"says which of {listing(self.names, 'labels')} hold{self.at_every_step}"

    @property
    def score(self) -> float:
        """Share of right labels."""
        return float(self.right.mean())

    @property
    def result(self) -> str:
        """Say how many are right."""
        return f"of the {len(self.names)} labels of {self.counted}, {percent(self.score)} are right"

    @property
    def without(self) -> str:
        """Say how many would be if each label were always what it is most often."""
        often = percent(float(self._constant.mean()))
        return f"always saying of each label what is most frequent would reach {often}"

    @cached_property
    def _constant(self) -> NDArray[np.bool_]:
        """(M, C) which labels would be right if each were always what it is most often."""
        held = self.targets == 1
        return np.asarray(held == (held.mean(axis=0) >= 0.5))

    @property
    def gains(self) -> NDArray[np.floating]:
        """(M,) by how much more of its labels are right than of those."""
        return np.asarray(self.right.mean(axis=1) - self._constant.mean(axis=1))

    @property
    def closeness(self) -> NDArray[np.floating]:
        """(M,) mean probabilities of what is true."""
        return np.asarray(1 - np.abs(self.predicted - self.targets).mean(axis=1))

    @property
    def question(self) -> str:
        """Ask which labels."""
        if self.per_step:
            return "How many labels are right over the steps of {}?"
        return "Which labels does {} get?"

    @property
    def represents(self) -> str:
        """Explain independent probabilities."""
        return (
            "Of each label by itself the probability that it holds: they need not add up to 1. "
            "Above 50\N{NO-BREAK SPACE}% a label counts as given."
        )

    @property
    def doubt(self) -> tuple[str, str]:
        """Ask how often all labels are right."""
        whole = percent(float(self.right.all(axis=1).mean()))
        return (
            f"How often are all {len(self.names)} labels of a {self.unit} right at once?",
            f"In {whole} of cases; label by label it is {percent(self.score)}.",
        )

    def balance(self, parts: Parts) -> Context:
        """Count the sequences or steps in which each label holds."""
        title = f"{self.unit.capitalize()}s in which each label holds"
        return count_table(title, "Label", parts, self.names, lambda each: (each == 1).sum(axis=0))

    def evaluation(self) -> Context:
        """Return scores of each label, and calibration."""
        said, held = self.predicted > 0.5, self.targets == 1
        hits = (said & held).sum(axis=0)
        rows = [
            (
                name,
                int(held[:, n].sum()),
                float(self.right[:, n].mean()),
                share(hits[n], said[:, n].sum()),
                share(hits[n], held[:, n].sum()),
            )
            for n, name in enumerate(self.names)
        ]
        sure = np.maximum(self.predicted, 1 - self.predicted)
        return {"scores": rows, **belief(sure.ravel(), self.right.ravel())}

    def truth(self, targets: Labels) -> Floats:
        """Return them as they are."""
        return np.asarray(targets, np.float32)

    def short(self, answers: Floats, truth: Floats) -> str:
        """Count what is right."""
        if not self.per_step:
            answers, truth = answers[-1:], truth[-1:]
        return f"{((answers > 0.5) == (truth == 1)).sum()} of {truth.size} labels right"

    def tells(self, answers: Floats, truth: Floats, steps: NDArray[np.int64]) -> str:
        """Name the labels that it gets, and those that are wrong."""
        if self.per_step:
            return f"Over its steps, {self.short(answers, truth)}."
        given, holds = answers[-1] > 0.5, truth[-1] == 1
        found = [
            f"“{self.names[n]}” ({percent(float(answers[-1, n]))})" for n in np.flatnonzero(given)
        ]
        text = f"It gets {joined(found)}." if found else "It gets none."
        missed = [f"“{self.names[n]}”" for n in np.flatnonzero(holds & ~given)]
        wrong = [f"“{self.names[n]}”" for n in np.flatnonzero(given & ~holds)]
        text += f" It lacks {joined(missed)}." if missed else ""
        text += f" It should not have {joined(wrong)}." if wrong else ""
        return text if missed or wrong else f"{text} All of them are right."
