"""Climb the rungs: ask both sides every question in both precisions, compare, try wrong ports."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from parity.cases import RAGGED, Case
from parity.compare import compare, step_profile
from parity.control_findings import controls_for, try_control
from parity.question import Arrays, Network, Precision, Question, Side, cast
from parity.repeatability import answer_twice, both_answers, without
from parity.result import Implementation, Result
from parity.rungs import judge
from parity.sides.reference_side import answer as reference_answer
from parity.tolerances import bounds, float32_floor, noise_floor

if TYPE_CHECKING:
    from parity.sides.onnx_side import OnnxSide

PRECISIONS: tuple[Precision, Precision] = ("float64", "float32")
Floors = Mapping[str, float]
# a training with many steps at once, and which snapshots of a whole answer it has
Together = Callable[[Question], tuple[Arrays, list[int]]]


class Theirs(Protocol):
    """The other side: a running Keras, or a record of one."""

    def __call__(self, question: Question) -> Arrays:
        """Answer a question."""

    def floors(self, question: Question, answer: Arrays) -> Floors:
        """Return the noise floor of each array of an answer."""


class LiveSide:
    """A side that computes here and now, as ``Theirs``."""

    def __init__(self, side: Side) -> None:
        self.side = side

    def __call__(self, question: Question) -> Arrays:
        """Answer a question."""
        return self.side(question)

    def floors(self, question: Question, answer: Arrays) -> Floors:
        """Measure the noise floor of an answer."""
        return float32_floor(self.side, question, answer)


def climb(
    result: Result,
    questions: Iterable[Question],
    ours: Side,
    theirs: Theirs,
    together: Together | None = None,
) -> None:
    """Ask every question, in float64 first, and add what is found to ``result``.

    Trainings are asked for twice where ``together`` takes many of their steps at once.
    """
    for asked in questions:
        for dtype in PRECISIONS:
            _ask(result, asked.as_dtype(dtype), ours, theirs, together)


def _ask(
    result: Result, question: Question, ours: Side, theirs: Theirs, together: Together | None
) -> None:
    our_answer, their_answer, shaky = both_answers(result, question, ours, theirs)
    floors = None
    if question.dtype == "float32" and question.task != "weights":
        floors = theirs.floors(question, their_answer)
    if shaky != their_answer.keys():
        steady = without(our_answer, shaky), without(their_answer, shaky)
        result.findings += judge(question, *steady, floors)
    result.controls += [
        try_control(control, question, ours, their_answer) for control in controls_for(question)
    ]
    if question.task == "training":
        losses = our_answer["train.loss"], their_answer["train.loss"]
        result.curves[question.dtype] = (losses[0].tolist(), losses[1].tolist())
    if question.task == "training" and together is not None:
        asked = replace(question, name=f"{question.name}, steps together")
        kept = together(question)[1]
        answer, more = answer_twice(result, result.ours, asked, lambda: together(question)[0])
        shared = {
            name: array if name == "train.loss" else array[kept]
            for name, array in their_answer.items()
        }
        left = without(answer, shaky | more), without(shared, shaky | more)
        if left[1]:
            result.findings += judge(asked, *left, floors)
    profiles = [
        step_profile(our_answer[name], their_answer[name])
        for name in our_answer
        if name.startswith("hidden.")
    ]
    if profiles:
        label = f"{question.name}, {question.dtype}"
        result.profiles[label] = np.max(profiles, axis=0).tolist()


def against_reference(
    name: str, side: Side, network: Network, unrolled: bool = False
) -> Implementation:
    """Compare an implementation with the NumPy reference in float64, gradients included.

    Args:
        name: What computes.
        side: The implementation.
        network: Sizes.
        unrolled: Whether it compiles every time step by itself, and full lengths only. Four steps
            are then a first, a last and two inner ones; more would be the inner ones again, at a
            second per step, layer and direction.
    """
    case = Case(RAGGED, network)
    if unrolled:
        case = Case("random_weights_four_full_steps", network, time=4, ragged=False)
    question = case.question()
    worst = max(
        compare(side(question), reference_answer(question)), key=lambda found: found.relative
    )
    return Implementation(name, question.name, worst.relative, worst.tensor)


def in_onnx(side: "OnnxSide", questions: Iterable[Question]) -> Implementation:
    """Compare ONNX Runtime, which computes in float32, with the NumPy reference in float64."""
    from parity.sides.onnx_side import in_float32, reference

    found = []
    for question in map(in_float32, questions):
        answer = side(question)
        # the noise of the judge's arithmetic, which is not on trial
        judge_side = partial(reference, dtype="float32")
        floors = noise_floor(judge_side, question, judge_side(question))
        allowed = bounds(question, answer, floors)
        found += [
            Implementation(
                side.name,
                question.name,
                difference.relative,
                difference.tensor,
                "float32",
                floors[difference.tensor],
                allowed[difference.tensor],
            )
            for difference in compare(cast(answer, "float64"), reference(question))
        ]
    return max(found, key=lambda each: each.relative / each.bound)
