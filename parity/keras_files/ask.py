"""Ask both sides one question about a Keras file and judge what they say."""

import re
from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np

from parity.control_findings import try_control
from parity.keras_files.edge_inputs import AGREED_WITHOUT_NUMBERS, EDGES
from parity.keras_files.file_questions import OWN, RANDOM
from parity.keras_files.gru_layers import gru_layers, single_step_layers
from parity.keras_files.ported_side import PortedSide
from parity.keras_files.wrong_ports import controls_for
from parity.keras_files.zero_gradients import zero_but_for_rounding, zeroed
from parity.question import Arrays, Question, Side
from parity.repeatability import both_answers, without
from parity.result import Limit, Result
from parity.rungs import Finding, judge
from parity.tolerances import (
    conditioned_bound,
    float32_floor,
    noise_floor,
    saturation_floor,
)

BY_THEIR_NOISE = (OWN, *EDGES)  # also in float64: their numbers are not chosen to be tame


def ask(
    result: Result, question: Question, ours: PortedSide, theirs: Side, still: Collection[str] = ()
) -> Collection[str]:
    """Ask both sides one question and add what is found to ``result``.

    Args:
        result: What has been found so far.
        question: What to compute.
        ours: The port.
        theirs: Keras.
        still: Gradients known to be made of rounding, from the same question in float64.

    Returns:
        The gradients that are made of rounding.
    """
    our_answer, their_answer, shaky = both_answers(result, question, ours, theirs)
    our_judged, their_judged = without(our_answer, shaky), without(their_answer, shaky)
    if our_judged.keys() == their_judged.keys():
        still = still or zero_but_for_rounding(question, our_judged, their_judged)
        our_judged, their_judged = zeroed(our_judged, still), zeroed(their_judged, still)
        if question.name in EDGES:
            our_judged, their_judged = _with_numbers(result, question, our_judged, their_judged)
    if their_judged or not shaky:
        findings = _judged(result, question, (our_judged, their_judged), theirs, their_answer)
        gated = tuple(gru_layers(question.weights))
        result.findings += [_with_gate(each, gated, their_answer) for each in findings]
    if question.name == RANDOM and question.dtype == "float64":
        _try_wrong_ports(result, question, ours, their_answer)
    if question.task == "training":
        losses = our_answer["train.loss"].tolist(), their_answer["train.loss"].tolist()
        result.curves[question.dtype] = losses
    return still


def _judged(
    result: Result,
    question: Question,
    answers: tuple[Arrays, Arrays],
    theirs: Side,
    whole: Arrays,
) -> list[Finding]:
    """Judge two answers; ``whole`` is their answer as they gave it, for its noise."""
    single = question.dtype == "float32" and question.task != "weights"
    floors = float32_floor(theirs, question, whole) if single else None
    found = judge(question, *answers, floors)
    if single or question.name not in BY_THEIR_NOISE or all(each.same for each in found):
        return found
    return _conditioned(result, question, found, noise_floor(theirs, question, whole), whole)


def _conditioned(
    result: Result,
    question: Question,
    findings: list[Finding],
    floors: dict[str, float],
    answer: Arrays,
) -> list[Finding]:
    """Judge numbers that nobody chose by Keras' noise, where float64 cannot hold the bound.

    A trained sigmoid that puts out 1 - 1e-8 has a slope of which float64 knows eight digits. The
    same arrays must meet the bound with random weights, and the weights are the same bit for bit.
    """
    saturated = saturation_floor(question, answer)
    judged = []
    for finding in findings:
        floor = max(floors[finding.difference.tensor], saturated if finding.rung == 3 else 0.0)
        bound = conditioned_bound(floor)
        worse = not finding.same and bound > finding.bound
        judged.append(replace(finding, floor=floor, bound=bound) if worse else finding)
    if worst := max(each.floor or 0.0 for each in judged):
        which = "the file's own weights" if question.name == OWN else f"inputs as {question.name}"
        result.notes.append(
            f"With {which} float64 knows some arrays to {worst:.0e} only, such as "
            "gradients through a saturated output; they are judged by that."
        )
    return judged


def _with_numbers(
    result: Result, question: Question, ours: Arrays, theirs: Arrays
) -> tuple[Arrays, Arrays]:
    """Leave out where both sides have the same NaN or infinity, and name the arrays.

    A mean over a row that is masked throughout is 0 / 0 in Keras, too.
    """
    left: tuple[Arrays, Arrays] = ({}, {})
    for name, array in theirs.items():
        none = ~np.isfinite(array) if array.shape == ours[name].shape else np.zeros((), bool)
        alike = none & np.isclose(array, ours[name], equal_nan=True) if none.any() else none
        if alike.any():
            where = f"{name} of {question.name} in {question.dtype}"
            result.notes.append(AGREED_WITHOUT_NUMBERS.format(where))
        for held, own in zip(left, (ours[name], array), strict=True):
            held[name] = np.where(alike, own.dtype.type(0), own)
    return left


def _try_wrong_ports(result: Result, question: Question, ours: PortedSide, answer: Arrays) -> None:
    result.controls += [
        try_control(control, question, ours, answer)
        for control in controls_for(question, ours, answer)
    ]
    result.notes += [
        f"{path} reads one step from a zero state, so nothing depends on its recurrent kernel."
        for path in single_step_layers(question, answer)
    ]


def settle(result: Result) -> None:
    """Name what could not be judged with the file's own weights but agrees with random ones."""
    decided = {(f.difference.tensor, f.dtype) for f in result.findings if f.same}
    for finding in [each for each in result.findings if each.undecided]:
        tensor = finding.difference.tensor
        if finding.case in BY_THEIR_NOISE and (tensor, finding.dtype) in decided:
            result.findings.remove(finding)
            result.limits.append(
                Limit(
                    f"{tensor} of {finding.case} in {finding.dtype} is not known well enough to be "
                    "compared; it agrees with random weights and inputs"
                )
            )


def _with_gate(finding: Finding, gated: Iterable[str], answer: Arrays) -> Finding:
    """Say which gate of which GRU a difference is in."""
    difference = finding.difference
    name = re.sub(r"^\w+\.", "", difference.tensor)
    if name.rpartition("/")[0] not in gated or difference.tensor.startswith("step."):
        return finding
    gate, unit = divmod(difference.index[-1], answer[difference.tensor].shape[-1] // 3)
    rest = ", ".join(map(str, difference.index[:-1]))
    where = f"gate {'zrh'[gate]}, unit {unit}" + (f", index {rest}" if rest else "")
    return replace(finding, difference=replace(difference, where=where))
