"""What a run's own numbers say, in sentences: the key insight, questions and their answers."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Sequences
from grulight.model import GRUNet
from grulight.task import GRUClassifier
from grulight.trace.answers import Answers
from grulight.trace.recorder import Epoch
from grulight.trace.walk import Walk

Floats = NDArray[np.float32]


class Question(NamedTuple):
    """A question and its answer."""

    text: str
    answer: str


def percent(share: float) -> str:
    """Return a share in per cent, never rounded to a certainty that is none."""
    shown = f"{100 * share:.1f}"
    if shown == "100.0" and share < 1:
        shown = "over 99.9"
    elif shown == "0.0" and share > 0:
        shown = "under 0.1"
    elif share in (0.0, 1.0):
        shown = f"{100 * share:.0f}"
    return f"{shown}\N{NO-BREAK SPACE}%"


def listing(names: Sequence[str]) -> str:
    """Return names as in a sentence; many or long ones become a number."""
    if len(names) > 4 or sum(map(len, names)) > 60:
        return f"{len(names)} classes"
    return _joined(names)


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def lead(
    classifier: GRUClassifier, answers: Answers, epochs: Sequence[Epoch], train: Sequences
) -> str:
    """Say in a sentence or two what was done and what came out."""
    ported = not isinstance(classifier.network, GRUNet)
    done = "Ported from a Keras file." if ported else "Its training was not recorded."
    if epochs:
        rounds = "1 epoch" if epochs[-1].number == 1 else f"{epochs[-1].number:,} epochs"
        done = f"Trained for {rounds} on {len(train):,} sequences of {train.source}."
    if not answers.finite:
        return (
            f"{done} Its answers are not numbers: the training diverged. A smaller learning rate "
            "is the usual cure."
        )
    return f"{done} Of {answers.sampled}, it names {percent(answers.accuracy)} right."


def insight(classifier: GRUClassifier, answers: Answers) -> str:
    """Say in one sentence what the run shows."""
    _, steps, features = answers.part.values.shape
    many = f"{steps * features:,} numbers ({steps} time steps × {features} features)"
    if (answers.part.lengths < steps).any():
        many = f"up to {many}"
    often = np.bincount(answers.labels).max() / len(answers.labels)
    result = (
        f"{percent(answers.accuracy)} of {answers.counted} are named right; always naming the "
        f"most frequent class would reach {percent(float(often))}"
    )
    network = classifier.network
    if not isinstance(network, GRUNet):
        return f"From {many} the model names one of {answers.probabilities.shape[1]} classes: " + (
            f"{result}."
        )
    size = network.head.in_features
    return f"The GRU turns {many} into a summary of {size}, and from these {size} alone {result}."


def questions(
    classifier: GRUClassifier, answers: Answers, epochs: Sequence[Epoch], trained_on: int
) -> list[Question]:
    """Return the questions about the network and the training; that of the sequence follows."""
    return [_about_output(classifier, answers, trained_on), _about_training(answers, epochs)]


def _about_output(classifier: GRUClassifier, answers: Answers, trained_on: int) -> Question:
    network = classifier.network
    classes = answers.probabilities.shape[1]
    if not isinstance(network, GRUNet):
        return Question(
            f"What do the {classes} numbers of an answer represent?",
            f"The probability of each class: they add up to 1. Guessing would give each "
            f"{percent(1 / classes)}.",
        )
    size = network.head.in_features
    last = f"the {size} hidden values after its last time step"
    if network.gru.bidirectional:
        last = f"{size // 2} hidden values after its last time step, read forward, and "
        last += f"{size // 2} after its first, read backward"
    _, steps, features = answers.part.values.shape
    return Question(
        f"What does the GRU’s output of shape {trained_on:,} × {size} represent?",
        f"One summary per sequence: {last}. The time axis is gone; of the {steps} × {features} "
        f"numbers that went in, the dense layer sees these {size} and nothing else.",
    )


def _about_training(answers: Answers, epochs: Sequence[Epoch]) -> Question:
    losses = [epoch.metrics["train_loss"] for epoch in epochs]
    moves = [
        (abs(after - before), n)
        for n, (before, after) in enumerate(pairwise(losses))
        if math.isfinite(after) and math.isfinite(before)
    ]
    if not moves:
        sure = float(answers.confidence.mean())
        return Question(
            "How sure is the model of its answers, and is it right as often?",
            f"On average it gives its answer {percent(sure)}; it is right in "
            f"{percent(answers.accuracy)} of cases.",
        )
    _, n = max(moves)
    before, after = epochs[n], epochs[n + 1]
    start, end = losses[n], losses[n + 1]
    way = "down" if end < start else "up"
    gain = 100 * (after.metrics["train_accuracy"] - before.metrics["train_accuracy"])
    return Question(
        f"Which way did the loss move from epoch {before.number} to epoch {after.number}, "
        "and by how much?",
        f"It went {way} by {abs(end - start):.3f}, from {start:.3f} to {end:.3f} "
        f"({(end - start) / max(abs(start), 1e-12):+.0%}): the largest move of the training. "
        f"The accuracy moved by {gain:+.1f} points.",
    )


def why(
    classifier: GRUClassifier,
    class_names: Sequence[str],
    seen: Walk,
    shares: Floats,
    logits: Floats,
) -> str:
    """Say what a sequence's answer rests on.

    Args:
        classifier: Who answered.
        class_names: C names.
        seen: The sequence on its way.
        shares: (K, C) probabilities had the sequence ended there, or (1, C).
        logits: (C,) of the whole sequence, the first 0 where there is but one.
    """
    second, first = np.argsort(shares[-1])[-2:].tolist()
    text = (
        f"It gets “{class_names[first]}” with {percent(float(shares[-1, first]))}: its logit "
        f"{logits[first]:+.2f} is {logits[first] - logits[second]:.2f} above that of "
        f"“{class_names[second]}”."
    )
    if isinstance(classifier.network, GRUNet):
        text += f" {_loudest_units(classifier.network, seen, first, second)}"
    if len(shares) > 1:
        others = np.flatnonzero(shares.argmax(axis=1) != first)
        step = seen.steps[others[-1] + 1] + 1 if len(others) else 1
        since = (
            f"since step {step} of {seen.steps[-1] + 1}" if step > 1 else "from the first step on"
        )
        text += f" It has been the answer {since}."
    return text


def _loudest_units(network: GRUNet, seen: Walk, first: int, second: int) -> str:
    """Name the units of the summary that put one class above another."""
    weight = network.head.weight.detach().float().cpu().numpy()
    if len(weight) == 1:  # one logit stands against an implied zero
        weight = np.concatenate([np.zeros_like(weight), weight])
    shift = (weight[first] - weight[second]) * seen.summary
    size = network.gru.hidden_size
    units = [
        f"{'backward ' if unit >= size else ''}unit {unit % size} ({shift[unit]:+.2f})"
        for unit in np.argsort(shift)[::-1][:3]
    ]
    return f"Of the summary, {_joined(units)} speak most for it."
