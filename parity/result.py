"""What a check found, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from parity.control_findings import ControlFinding
from parity.distribution import Equivalence
from parity.question import Precision
from parity.rungs import Finding, first_divergence, undecided_because
from parity.tolerances import FLOAT64_BOUND

Verdict = Literal["the same", "different", "could not tell"]
# What nothing but our own reading of a file stands behind is called so.
REBUILT = "as our reading rebuilt in Keras"
EXIT_CODES: dict[Verdict, int] = {"the same": 0, "different": 1, "could not tell": 2}


@dataclass(frozen=True)
class Implementation:
    """How far one implementation is from the float64 reference in NumPy.

    Attributes:
        name: What computed.
        case: On which case.
        relative: Largest relative difference of any array, gradients included.
        tensor: Which array.
        dtype: Precision that it computed in.
        floor: Its noise floor there, in float32.
        bound: Largest relative difference that the reference's function may show.
    """

    name: str
    case: str
    relative: float
    tensor: str
    dtype: Precision = "float64"
    floor: float | None = None
    bound: float = FLOAT64_BOUND

    @property
    def same(self) -> bool:
        """Whether it computes the reference's function."""
        return self.relative <= self.bound


@dataclass(frozen=True)
class Limit:
    """Something that was changed before both sides were asked, or was not compared.

    Attributes:
        what: What, and what it means, as a sentence fragment.
        open: Whether the model as it is may compute otherwise, so that nothing can be told.
    """

    what: str
    open: bool = False


@dataclass
class Result:
    """Everything that a check found.

    Attributes:
        target: What was checked.
        weights_sha256: Hash of its weights.
        ours: What computed our answers.
        theirs: What computed theirs.
        versions: Versions of the libraries.
        notes: What the reader should know, such as where the data come from.
        limits: What the verdict does not cover.
        rebuilt: Whether Keras ran a model rebuilt from our own reading of the file.
        unsteady: Arrays that a side gave other bits of when asked twice, in words.
        findings: One per compared array.
        controls: One per negative control.
        implementations: One per implementation compared with the reference.
        equivalences: Rung 6, where it was asked for.
        curves: Loss of every batch, ours and theirs, in both precisions.
        profiles: Largest relative difference of every time step, per case and precision.
        samples: Rung 6: final figures per seed.
        seconds: How long it took.
    """

    target: str
    weights_sha256: str
    ours: str
    theirs: str
    versions: Mapping[str, str]
    notes: list[str] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    rebuilt: bool = False
    unsteady: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    controls: list[ControlFinding] = field(default_factory=list)
    implementations: list[Implementation] = field(default_factory=list)
    equivalences: list[Equivalence] = field(default_factory=list)
    curves: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    profiles: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The same only if all agrees and every wrong port was caught."""
        agreed = [not f.differs for f in self.findings] + [i.same for i in self.implementations]
        if not all(agreed):
            return "different"
        return "could not tell" if self._open else "the same"

    @property
    def words(self) -> str:
        """The verdict as it is said: "the same" alone only where nothing is left out."""
        if self.verdict != "the same":
            return self.verdict
        said = f"the same {REBUILT}" if self.rebuilt else "the same"
        count = len(self.limits)
        return f"{said}, but for {count} thing{'s' * (count > 1)} named below" if count else said

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, in one line."""
        if self.verdict == "the same":
            weakest = min(self.controls, key=lambda each: each.factor)
            return (
                f"every rung agrees, and all {len(self.controls)} wrong ports were caught, the "
                f"mildest ({weakest.control.name}) at {weakest.factor:.0e} times the bound"
            )
        if self.verdict == "different":
            apart = [i for i in self.implementations if not i.same]
            return first_divergence(self.findings) or (
                f"{apart[0].name} is {apart[0].relative:.1e} off the reference in {apart[0].tensor}"
            )
        return self._open[0]

    @property
    def _open(self) -> list[str]:
        """Why nothing can be told, in the order of weight."""
        missed = [each.control.name for each in self.controls if not each.caught]
        undecided = [finding for finding in self.findings if finding.undecided]
        wide = [each.quantity for each in self.equivalences if not each.shown]
        found = [
            "nothing was compared" if not self.findings else "",
            f"a wrong port was not caught: {', '.join(missed)}" if missed else "",
            f"another answer to the same question: {'; '.join(self.unsteady[:3])}"
            if self.unsteady
            else "",
            undecided_because(undecided[0]) if undecided else "",
            "no wrong port could be tried, and a proof that cannot fail proves nothing"
            if not self.controls
            else "",
            f"rung 6 did not show equivalence of {', '.join(wide)}; more seeds may" if wide else "",
            *(f"what was compared agrees, but {each.what}" for each in self.limits if each.open),
        ]
        return [reason for reason in found if reason]
