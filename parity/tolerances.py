"""How far apart two equal programs may be: measured noise, and the bounds with their reasons.

This is the one file with tolerances. Raising one is a change of its own that edits the reason.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity.cases import Arrays, Question
from parity.compare import compare

Side = Callable[[Question], Arrays]

# Float64 decides whether two programs compute the same function. Rounding of one GRU step is about
# 3e-16; sums over hundreds of terms and 125 optimiser steps stayed below 1e-14 in every network
# measured (1 to 128 units), and the mildest wrong port of faults.py is 1e-2 off.
FLOAT64_BOUND = 1e-12

# Float32 is judged by the noise of each framework itself. A nudge moves each number by one unit in
# the last place once, a computation rounds at every operation, and the two sides round apart from
# each other, so equal programs differ by a few floors: at most 2.3 in eight networks (1 to 128
# units, one and two layers, both directions, one to ten outputs, trainings included). Eight leaves
# room for processors that sum in another order; the mildest wrong port is 1e5 floors off.
FLOAT32_FLOORS = 8.0

# Slopes of a trained sigmoid or softmax are made of p and 1 - p. Where p rounds to one, float64
# knows 1 - p to the rounding of one only, and nudged weights do not move it: an output 1 - 1e-8
# has a slope of eight known digits. So no gradient of a file's own weights is judged by less.
SATURATED = ("categorical", "binary")  # heads whose output has such slopes

DRAWS = 6
# A training of 125 steps per draw: three draws, because each is as long as the training itself.
TRAINING_DRAWS = 3


def nudge(arrays: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> Arrays:
    """Move every floating number by one unit in the last place, up or down at random."""
    return {
        name: np.nextafter(array, rng.choice([-np.inf, np.inf], array.shape).astype(array.dtype))
        if array.dtype.kind == "f"
        else array
        for name, array in arrays.items()
    }


def nudged(question: Question, rng: np.random.Generator) -> Question:
    """Nudge the weights and inputs of a question; cotangents and gradient paths are inputs, too."""
    return replace(
        question, weights=nudge(question.weights, rng), inputs=nudge(question.inputs, rng)
    )


def noise_floor(side: Side, question: Question, answer: Arrays) -> dict[str, float]:
    """Return how far each array of a side's answer moves when the question is nudged.

    The largest of several draws; never below one unit in the last place of the largest element,
    which is what storing the answer costs.
    """
    ulp = float(np.finfo(question.dtype).eps)
    floors = dict.fromkeys(answer, ulp)
    for draw in range(TRAINING_DRAWS if question.task == "training" else DRAWS):
        moved = side(nudged(question, np.random.default_rng([7, draw])))
        for difference in compare(moved, answer):
            floors[difference.tensor] = max(floors[difference.tensor], difference.relative)
    return floors


def saturation_floor(question: Question, answer: Arrays) -> float:
    """Return the rounding of one as a share of the steepest slope of an output (SATURATED)."""
    heads = [name for name, kind in question.settings["heads"].items() if kind in SATURATED]
    slopes = [np.minimum(p, 1 - p).max() for p in (answer[f"output.{name}"] for name in heads)]
    epsilon = float(np.finfo(question.dtype).eps)
    return epsilon / max(float(min(slopes, default=1.0)), epsilon)


def bounds(
    question: Question,
    names: Iterable[str],
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
) -> dict[str, float]:
    """Return the largest relative difference that equal programs may show, per array.

    Args:
        question: What was asked; weights must come through bit for bit.
        names: The arrays of the answer.
        ours: Our noise floors; unused in float64.
        theirs: Their noise floors; unused in float64.
    """
    if question.task == "weights":
        return dict.fromkeys(names, 0.0)
    if question.dtype == "float64":
        return dict.fromkeys(names, FLOAT64_BOUND)
    return {name: FLOAT32_FLOORS * max(ours[name], theirs[name]) for name in names}
