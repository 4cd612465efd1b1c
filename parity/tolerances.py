"""How far apart two equal programs may be: measured noise, and the bounds with their reasons.

This is the one file with tolerances. Raising one is a change of its own that edits the reason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity.compare import compare
from parity.question import Arrays, Question, Side, cast

# Float64 decides whether two programs compute the same function. Rounding of one GRU step is about
# 3e-16; sums over hundreds of terms and 125 optimiser steps stayed below 1e-14 in every network
# measured (1 to 128 units), and the mildest wrong port of controls/ is 1e-2 off.
FLOAT64_BOUND = 1e-12

# Float32 is judged by the noise of the side that is not on trial: how far Keras' own answer moves
# when its weights and inputs are perturbed. That moves each number by one unit in the last place
# once, a computation rounds at every operation, and the two sides round apart from each other, so
# equal programs differ by a few floors: at most 2.3 in eight networks (1 to 128 units, one and two
# layers, both directions, one to ten outputs, trainings included). Eight leaves room for
# processors that sum in another order; the mildest wrong port is 1e5 floors off. The side on trial
# has no say: noise of its own would excuse whatever it does.
FLOAT32_FLOORS = 8.0

# However much Keras itself moves, no more is allowed than rounding once per operation adds up to
# (Higham 2002, chapter 3: n operations in a row are off by n units in the last place at most), and
# never more than a hundredth: two digits in common are the least that "the same" can mean.
# Between this cap and eight floors nothing is decided.
WIDEST = 1e-2
PER_ARRAY = 16  # operations on a number between two products: gates, activations, means, the loss
PASSES = 3  # forward, and two products per weight backward

# Slopes of a trained sigmoid or softmax are made of p and 1 - p. Where p rounds to one, float64
# knows 1 - p to the rounding of one only, and perturbed weights do not move it: an output 1 - 1e-8
# has a slope of eight known digits. So no gradient of a file's own weights is judged by less.
SATURATED = ("categorical", "binary")  # heads whose output has such slopes

# A file's own weights and inputs at the edge are judged in float64, too, by Keras' noise where that
# exceeds FLOAT64_BOUND, and never by more than this: a saturated sigmoid's slope keeps six digits
# up to an output of 1 - 1e-9, and the mildest wrong port of controls/ is 1e-2 off.
WIDEST_FLOAT64 = 1e-6

# Keras computes a scheduled learning rate in float32, whatever the weights are. TensorFlow's
# powers, logarithms and cosines are one unit in the last place off for one number in a thousand,
# and which depends on the processor; ours are rounded right. At most one unit was seen in 4800
# steps of 16 schedules; rates of a wrong schedule are 1e-3 off. Both sides then train with the
# same rates.
RATE_BOUND = 4 * float(np.finfo(np.float32).eps)

# Keras 2 rounds 1 - momentum to float32 whatever the moving statistics are in; with 0.99 they were
# 1.7e-9 off after four batches. Statistics of another order of calls are 3e-4 off.
STATISTICS_BOUND = float(np.finfo(np.float32).eps)

# Where every gate is saturated, a nudge moves nothing, but rounding goes on behind it: Keras' layer
# normalisation of saturated states, (x - mean) · inv as x · inv - mean · inv, is 5.5e-6 off its own
# float64, 46 times what nudges show, while ours is 6e-8 off. So what a network puts out has a floor
# of how far Keras in float32 is from Keras in float64, too, under the same cap. That was less than
# what nudges show in the file's six other cases, in two trained or ragged networks and in twelve
# saturated ones. Gradients have nudges alone: a slope p (1 - p) that float32 rounds to zero is
# wholly off, and would excuse as much.
FORWARD = ("output.", "hidden.", "last.", "logits", "probabilities")

DRAWS = 6
# A training of 125 steps per draw: three draws, because each is as long as the training itself.
TRAINING_DRAWS = 3


def perturb(arrays: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> Arrays:
    """Move every floating number by one unit in the last place, up or down at random."""
    return {
        name: np.nextafter(array, rng.choice([-np.inf, np.inf], array.shape).astype(array.dtype))
        if array.dtype.kind == "f"
        else array
        for name, array in arrays.items()
    }


def perturbed(question: Question, rng: np.random.Generator) -> Question:
    """Perturb weights and inputs of a question; cotangents and gradient paths are inputs, too."""
    return replace(
        question, weights=perturb(question.weights, rng), inputs=perturb(question.inputs, rng)
    )


def noise_floor(side: Side, question: Question, answer: Arrays) -> dict[str, float]:
    """Return how far each array of a side's answer moves when the question is perturbed.

    The largest of several draws; never below one unit in the last place of the largest element,
    which is what storing the answer costs. Infinite where that leads to no number.
    """
    ulp = float(np.finfo(question.dtype).eps)
    floors = dict.fromkeys(answer, ulp)
    for draw in range(TRAINING_DRAWS if question.task == "training" else DRAWS):
        moved = side(perturbed(question, np.random.default_rng([7, draw])))
        for difference in compare(moved, answer):
            floors[difference.tensor] = max(floors[difference.tensor], difference.relative)
    return floors


def float32_floor(side: Side, question: Question, answer: Arrays) -> dict[str, float]:
    """Return the noise floor of a float32 answer, what FORWARD says of rounding included.

    Args:
        side: Not on trial; it answers in both precisions.
        question: In float32.
        answer: Its answer.
    """
    floors = noise_floor(side, question, answer)
    outputs = {name: array for name, array in answer.items() if name.startswith(FORWARD)}
    if question.task in ("network", "forward") and outputs:
        exact = side(question.as_dtype("float64"))
        for off in compare(cast(outputs, "float64"), {name: exact[name] for name in outputs}):
            floors[off.tensor] = max(floors[off.tensor], off.relative)
    return floors


def unsteady(first: Mapping[str, NDArray[Any]], again: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return the arrays that have other bits in a second answer to the same question."""
    return [
        name
        for name, array in first.items()
        if name not in again
        or array.shape != again[name].shape
        or array.tobytes() != again[name].tobytes()
    ]


def operations(question: Question) -> int:
    """Return how many roundings lie on the longest way to a number of an answer, at most.

    Every weight's longest axis is summed over at each time step, forward and backward, and a
    gradient over the rows; a training does it once per update.
    """
    inputs = question.inputs.values()
    rows = max((len(array) for array in inputs if array.ndim), default=1)
    steps = max((array.shape[1] for array in inputs if array.ndim > 1), default=1)
    chain = sum(max(array.shape, default=1) + PER_ARRAY for array in question.weights.values())
    return _updates(question) * (PASSES * steps * (chain + PER_ARRAY) + rows)


def _updates(question: Question) -> int:
    if question.task == "steps":
        return len(question.inputs["cos"])
    if question.task != "training":
        return 1
    order = question.inputs.get("order")
    if order is None:
        return int(question.settings["steps"])
    epochs, count = order.shape
    return int(epochs * -(-count // question.settings["batch_size"]))


def cap(question: Question) -> float:
    """Return the largest bound that rounding can explain in the question's precision."""
    return min(WIDEST, float(np.finfo(question.dtype).eps) * operations(question))


def saturation_floor(question: Question, answer: Arrays) -> float:
    """Return the rounding of one as a share of the steepest slope of an output (SATURATED)."""
    heads = [name for name, kind in question.settings["heads"].items() if kind in SATURATED]
    slopes = [np.minimum(p, 1 - p).max() for p in (answer[f"output.{name}"] for name in heads)]
    epsilon = float(np.finfo(question.dtype).eps)
    return epsilon / max(float(min(slopes, default=1.0)), epsilon)


def conditioned_bound(floor: float) -> float:
    """Return what is allowed in float64 where Keras itself moves by ``floor``."""
    return min(FLOAT32_FLOORS * floor, WIDEST_FLOAT64)


def bounds(
    question: Question, names: Iterable[str], floors: Mapping[str, float]
) -> dict[str, float]:
    """Return the largest relative difference that equal programs may show, per array.

    Args:
        question: What was asked; weights must come through bit for bit.
        names: The arrays of the answer.
        floors: The noise floors of the side that is not on trial; unused in float64.
    """
    if question.task == "weights":
        return dict.fromkeys(names, 0.0)
    if question.dtype == "float64":
        return {n: RATE_BOUND if n.startswith("rate.") else FLOAT64_BOUND for n in names}
    most = cap(question)
    return {name: min(FLOAT32_FLOORS * floors[name], most) for name in names}
