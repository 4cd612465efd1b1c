"""The ladder: which questions are asked, which rung an array belongs to, and what is concluded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from parity.cases import (
    OPTIMIZERS,
    STEPS,
    Arrays,
    Case,
    Network,
    Precision,
    Question,
    cotangents,
    loss_question,
    step_question,
    training_question,
)
from parity.compare import Difference, compare, first_step_beyond
from parity.controls.wrong_ports import FAULTS, RAGGED, Fault, Side
from parity.tolerances import FLOAT32_FLOORS, bounds

TITLES = ("weights", "forward", "loss", "gradients", "optimiser", "trajectory", "distribution")
PREFIXES = {
    "weights": 0,
    "keras": 0,
    "hidden": 1,
    "last": 1,
    "logits": 1,
    "probabilities": 1,
    "loss": 2,
    "slope": 2,
    "grad": 3,
    "lossgrad": 3,
    "step": 4,
    "train": 5,
    "output": 1,  # of any model, in assert_equivalent
}
SNAPSHOT_NUMBERS = 10_000_000  # kept of a training's weights; 80 MB in float64


@dataclass(frozen=True)
class Finding:
    """What the comparison of one array showed.

    Attributes:
        rung: 0 to 5.
        case: Name of the question's case.
        dtype: Precision.
        difference: The largest difference.
        floor: Noise floor of this array in the answer of the side that is not on trial, in float32.
        bound: Largest relative difference that equal programs may show.
        first_step: First time step beyond the bound, for hidden states.
    """

    rung: int
    case: str
    dtype: Precision
    difference: Difference
    floor: float | None
    bound: float
    first_step: int | None = None

    @property
    def same(self) -> bool:
        """Whether equal programs may differ by this much."""
        return self.difference.relative <= self.bound

    @property
    def undecided(self) -> bool:
        """Whether nothing follows: no side has a number, or Keras' own is not known so well."""
        difference = self.difference
        if self.same or np.isfinite(difference.ours) != np.isfinite(difference.theirs):
            return False
        if not np.isfinite(difference.ours):
            return True
        known = self.floor is not None and difference.relative <= FLOAT32_FLOORS * self.floor
        return known and bool(np.isfinite(difference.relative))

    @property
    def differs(self) -> bool:
        """Whether equal programs cannot differ by this much."""
        return not (self.same or self.undecided)

    @property
    def share(self) -> float:
        """The difference as a multiple of its bound."""
        if self.bound:
            return self.difference.relative / self.bound
        return np.inf if self.difference.relative else 0.0


@dataclass(frozen=True)
class Control:
    """What a negative control showed: by how much a wrong port exceeds the bound, and where."""

    fault: Fault
    rung: int
    case: str
    factor: float
    difference: Difference

    @property
    def caught(self) -> bool:
        """Whether the wrong port is told from the right one."""
        return self.factor > 1.0


def study(
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
        loss_question(network),
        *(step_question(network, random.weights(), name, few) for name in OPTIMIZERS),
        training,
    ]


def rung_of(tensor: str) -> int:
    """Return the rung that an array of an answer belongs to, by its name."""
    return PREFIXES[tensor.partition(".")[0]]


def judge(
    question: Question,
    ours: Arrays,
    theirs: Arrays,
    floors: Mapping[str, float] | None = None,
) -> list[Finding]:
    """Compare two answers to a question, array by array.

    Args:
        question: What was asked.
        ours: Our answer.
        theirs: Their answer.
        floors: Their noise floors; needed in float32. Ours would let us excuse ourselves.
    """
    allowed = bounds(question, theirs, floors or {})
    findings = []
    for difference in compare(ours, theirs):
        name = difference.tensor
        first = None
        if name.startswith("hidden."):
            first = first_step_beyond(ours[name], theirs[name], allowed[name])
        findings.append(
            Finding(
                rung_of(name),
                question.name,
                question.dtype,
                difference,
                floors[name] if floors else None,
                allowed[name],
                first,
            )
        )
    return findings


def worst_of(findings: Iterable[Finding]) -> list[Finding]:
    """Return per rung and precision the finding that comes nearest to its bound, or exceeds it."""
    worst: dict[tuple[int, str], Finding] = {}
    for finding in findings:
        key = (finding.rung, finding.dtype)
        if key not in worst or _severity(finding) > _severity(worst[key]):
            worst[key] = finding
    return [worst[key] for key in sorted(worst, key=lambda key: (key[0], key[1] != "float64"))]


def first_divergence(findings: Sequence[Finding]) -> str | None:
    """Say where the two sides part first: lowest rung, float64 before float32, then as computed."""
    wrong = [finding for finding in findings if finding.differs]
    if not wrong:
        return None
    first = min(wrong, key=_as_computed)
    step = (
        ""
        if first.first_step is None
        else f"; first beyond the bound at time step {first.first_step}"
    )
    gates = [f for f in wrong if f.rung == 3 and "gate " in f.difference.where]
    gate = ""
    if "gate " not in first.difference.where and gates:
        where = max(gates, key=_severity).difference
        gate = f"; of the gradients {where.tensor} is furthest apart, {where.where}"
    return (
        f"rung {first.rung} ({TITLES[first.rung]}, {first.dtype}, {first.case}): "
        f"{first.difference}{step}{gate}"
    )


def undecided_because(finding: Finding) -> str:
    """Say why nothing follows from a finding."""
    difference = finding.difference
    where = f"{difference.tensor} of {finding.case} in {finding.dtype}"
    if not np.isfinite(difference.theirs):
        return f"neither side has a number in {where}: {difference.theirs}"
    return (
        f"{where} differs by {difference.relative:.0e}, which is more than {finding.bound:.0e}, "
        "the most that rounding may, and less than Keras itself moves when nudged by it"
    )


def control(fault: Fault, question: Question, ours: Side, theirs: Arrays) -> Control:
    """Try a wrong port and measure by how much it exceeds the bound."""
    wrong = fault.wrong(question, ours)
    right = theirs if fault.right is None else fault.right(question)
    shared = {name: right[name] for name in wrong}
    findings = judge(question, wrong, shared)
    found = max(findings, key=_severity)
    first = min((f for f in findings if f.differs), key=lambda f: f.rung, default=found)
    return Control(fault, first.rung, question.name, found.share, found.difference)


def controls_for(question: Question) -> list[Fault]:
    """Return the faults that a question must show."""
    return [fault for fault in FAULTS if fault.concerns(question)]


def _as_computed(finding: Finding) -> tuple[int, bool, int]:
    """Order findings as a computation runs: hidden states come before the logits made of them."""
    prefix = finding.difference.tensor.partition(".")[0]
    return finding.rung, finding.dtype != "float64", list(PREFIXES).index(prefix)


def _severity(finding: Finding) -> tuple[bool, float, float]:
    return finding.differs, finding.share, finding.difference.relative


def _steps(training: Question) -> int:
    epochs, count = training.inputs["order"].shape
    return int(epochs * -(-count // training.settings["batch_size"]))


def _divisor(total: int, at_least: int) -> int:
    """Return the smallest divisor of ``total`` that is at least ``at_least``."""
    return next(n for n in range(min(at_least, total), total + 1) if total % n == 0)
