"""What a run's own numbers say, in sentences: the key insight, questions and their answers."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Sequences
from grulight.model import GRUNet
from grulight.trace.answers import Answers
from grulight.trace.recorder import Epoch
from grulight.training.classifier import GRUClassifier

Floats = NDArray[np.float32]
Metrics = dict[str, float]


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


def listing(names: Sequence[str], what: str) -> str:
    """Return names as in a sentence; many or long ones become a number."""
    if len(names) > 4 or sum(map(len, names)) > 60:
        return f"{len(names)} {what}"
    return joined(names)


def joined(names: Sequence[str]) -> str:
    """Return names as in a sentence."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def capital(text: str) -> str:
    """Return a sentence with its first letter large."""
    return text[:1].upper() + text[1:]


def lead(
    classifier: GRUClassifier, answers: Answers, epochs: Sequence[Epoch], train: Sequences
) -> str:
    """Say in a sentence or two what came out, against reading nothing, and what was done."""
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
    return f"{capital(answers.result)}; {answers.without}. {done}"


def headline(answers: Answers, epochs: Sequence[Epoch]) -> str:
    """Say what the model does, unless its training has led to nothing, or to chance."""
    if epochs and answers.finite and answers.by_chance:
        how = "no" if answers.idle else "hardly"
        return f"that answers {how} better than one that reads nothing"
    return answers.does


def insight(classifier: GRUClassifier, answers: Answers) -> str:
    """Say in one sentence what the run shows."""
    result = f"{answers.result}; {answers.without}"
    many = _many(classifier, answers)
    network = classifier.network
    if not isinstance(network, GRUNet):
        return f"From {many} the model {answers.does}: {result}."
    size = network.head.in_features
    if network.per_step:
        read = "comes before and after it" if network.gru.bidirectional else "it has read by then"
        turns = f"At each step the GRU turns what {read}, of {many}, into {size}"
        return f"{turns}, and from these {size} alone {result}."
    return f"The GRU turns {many} into a summary of {size}, and from these {size} alone {result}."


def _many(classifier: GRUClassifier, answers: Answers) -> str:
    """Say how much the network reads of a sequence."""
    _, steps, features = answers.part.values.shape
    up_to = "up to " if (answers.part.lengths < steps).any() else ""
    if getattr(classifier.network, "num_ids", None) is not None:
        return f"{up_to}{steps * features:,} ids"
    return f"{up_to}{steps * features:,} numbers ({steps} time steps × {features} features)"


def questions(
    classifier: GRUClassifier, answers: Answers, epochs: Sequence[Epoch], trained_on: int
) -> list[Question]:
    """Return the questions about the network and the training; that of the sequence follows."""
    return [_about_output(classifier, answers, trained_on), _about_training(answers, epochs)]


def _about_output(classifier: GRUClassifier, answers: Answers, trained_on: int) -> Question:
    network = classifier.network
    if not isinstance(network, GRUNet):
        count = len(answers.names)
        what = f"do the {count} numbers of an answer" if count > 1 else "does an answer"
        return Question(f"What {what} represent?", answers.represents)
    if network.per_step:
        return _about_states(network, answers, trained_on)
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


def _about_states(network: GRUNet, answers: Answers, trained_on: int) -> Question:
    size, steps = network.head.in_features, answers.part.values.shape[1]
    what = f"{size} hidden values of what came up to it"
    if network.gru.bidirectional:
        what = f"{size // 2} hidden values of what came up to it and {size // 2} of what follows"
    return Question(
        f"What does the GRU’s output of shape {trained_on:,} × {steps} × {size} represent?",
        f"One summary per time step: {what}. The time axis stays: the dense layer answers for each "
        f"step from its {size} numbers and sees nothing else.",
    )


def _about_training(answers: Answers, epochs: Sequence[Epoch]) -> Question:
    losses = [epoch.metrics["train_loss"] for epoch in epochs]
    moves = [
        (abs(after - before), n)
        for n, (before, after) in enumerate(pairwise(losses))
        if math.isfinite(after) and math.isfinite(before)
    ]
    if not moves:
        return Question(*answers.doubt)
    _, n = max(moves)
    before, after = epochs[n], epochs[n + 1]
    start, end = losses[n], losses[n + 1]
    way = "down" if end < start else "up"
    return Question(
        f"Which way did the loss move from epoch {before.number} to epoch {after.number}, "
        "and by how much?",
        f"It went {way} by {abs(end - start):.3f}, from {start:.3f} to {end:.3f} "
        f"({(end - start) / max(abs(start), 1e-12):+.0%}): the largest move of the training. "
        f"{_metric_move(before.metrics, after.metrics, answers)}",
    )


def _metric_move(before: Metrics, after: Metrics, answers: Answers) -> str:
    name = f"train_{answers.metric}"
    move = after[name] - before[name]
    if answers.metric == "accuracy":
        return f"The accuracy moved by {100 * move:+.1f} points."
    return f"The {answers.metric_words[1]} moved by {move:+.3g}."


def loudest_units(network: GRUNet, summary: Floats, shares: Floats, names: Sequence[str]) -> str:
    """Name the units of the summary that put the answer above the next class.

    Args:
        network: Who answered.
        summary: (S,) of the sequence.
        shares: (C,) probabilities.
        names: C names.
    """
    second, first = np.argsort(shares)[-2:].tolist()
    weight, bias = (each.detach().float().cpu().numpy() for each in network.head.parameters())
    if len(weight) == 1:  # one logit stands against an implied zero
        weight = np.concatenate([np.zeros_like(weight), weight])
        bias = np.concatenate([np.zeros_like(bias), bias])
    logits, shift = weight @ summary + bias, (weight[first] - weight[second]) * summary
    size = network.gru.hidden_size
    units = [
        f"{'backward ' if unit >= size else ''}unit {unit % size} ({shift[unit]:+.2f})"
        for unit in np.argsort(shift)[::-1][:3]
    ]
    return (
        f"Its logit {logits[first]:+.2f} is {logits[first] - logits[second]:.2f} above that of "
        f"“{names[second]}”. Of the summary, {joined(units)} speak most for it."
    )
