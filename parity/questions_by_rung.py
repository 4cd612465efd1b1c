"""The questions of a check: all that is asked about one network, from rung 0 to rung 5."""

from dataclasses import replace

import numpy as np

from parity.cases import (
    OPTIMIZERS,
    RAGGED,
    STEPS,
    Case,
    cotangents,
    loss_question,
    saturating_question,
    step_question,
    training_question,
)
from parity.question import Arrays, Network, Question

SNAPSHOT_NUMBERS = 10_000_000  # kept of a training's weights; 80 MB in float64


def questions_about(
    network: Network,
    weights: Arrays,
    data: Arrays,
    start: Arrays,
    source: str,
    stride: int = 1,
) -> list[Question]:
    """Return every question about a network, in float64, rung by rung.

    Args:
        network: Sizes.
        weights: The network's own weights.
        data: Sequences to run and to train on: ``values``, ``labels``, maybe ``lengths``.
        start: Weights that training starts from.
        source: What the data are.
        stride: Keep every so many snapshots of weights along optimiser steps and training.
    """
    some = {name: array[:64] for name, array in data.items()}
    some |= cotangents(network, some["values"], np.random.default_rng(6))
    random = Case(RAGGED, network)
    training = training_question(source, network, start, data)
    steps = _steps(training)
    numbers = sum(array.size for array in start.values())
    # large networks keep fewer snapshots; the stride divides the steps, so that the last is kept
    sparse = max(stride, -(-steps * numbers // SNAPSHOT_NUMBERS))
    training = replace(training, settings={**training.settings, "every": _divisor(steps, sparse)})
    few = _divisor(STEPS, max(stride, -(-STEPS * numbers // SNAPSHOT_NUMBERS)))
    return [
        Question("own_weights", "weights", network, weights, {}),
        Question("own_weights_own_data", "network", network, weights, some),
        random.question(),
        replace(random, name="random_weights_long_sequences", batch=3, time=67, seed=1).question(),
        saturating_question(network),
        loss_question(network),
        *(step_question(network, random.weights(), name, few) for name in OPTIMIZERS),
        training,
    ]


def _steps(training: Question) -> int:
    epochs, count = training.inputs["order"].shape
    return int(epochs * -(-count // training.settings["batch_size"]))


def _divisor(total: int, at_least: int) -> int:
    """Return the smallest divisor of ``total`` that is at least ``at_least``."""
    return next(n for n in range(min(at_least, total), total + 1) if total % n == 0)
