"""What negative controls show: whether a wrong port is told from the right one, and where."""

from dataclasses import dataclass

from parity.compare import Difference
from parity.controls.negative_control import NegativeControl
from parity.controls.wrong_ports import NEGATIVE_CONTROLS
from parity.question import Arrays, Question, Side
from parity.rungs import judge, severity


@dataclass(frozen=True)
class ControlFinding:
    """What a negative control showed: by how much a wrong port exceeds the bound, and where."""

    control: NegativeControl
    rung: int
    case: str
    factor: float
    difference: Difference

    @property
    def caught(self) -> bool:
        """Whether the wrong port is told from the right one."""
        return self.factor > 1.0


def try_control(
    control: NegativeControl, question: Question, ours: Side, theirs: Arrays
) -> ControlFinding:
    """Try a wrong port and measure by how much it exceeds the bound."""
    wrong = control.wrong(question, ours)
    right = theirs if control.right is None else control.right(question)
    shared = {name: right[name] for name in wrong}
    findings = judge(question, wrong, shared)
    found = max(findings, key=severity)
    first = min((f for f in findings if f.differs), key=lambda f: f.rung, default=found)
    return ControlFinding(control, first.rung, question.name, found.share, found.difference)


def controls_for(question: Question) -> list[NegativeControl]:
    """Return the negative controls that a question must catch."""
    return [control for control in NEGATIVE_CONTROLS if control.concerns(question)]
