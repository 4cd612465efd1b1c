"""The rungs: which one an array belongs to, what comparing it showed, and what is concluded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.compare import Difference, compare, first_step_beyond
from parity.question import Arrays, Precision, Question
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
    "rate": 4,  # the learning rate of each step
    "step": 4,
    "train": 5,
    "output": 1,  # of any model, in assert_equivalent
}


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
        if key not in worst or severity(finding) > severity(worst[key]):
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
        where = max(gates, key=severity).difference
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


def _as_computed(finding: Finding) -> tuple[int, bool, int]:
    """Order findings as a computation runs: hidden states come before the logits made of them."""
    prefix = finding.difference.tensor.partition(".")[0]
    return finding.rung, finding.dtype != "float64", list(PREFIXES).index(prefix)


def severity(finding: Finding) -> tuple[bool, float, float]:
    """Order findings: what differs first, then by how near to the bound."""
    return finding.differs, finding.share, finding.difference.relative
