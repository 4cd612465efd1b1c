"""A negative control: a wrong port, and which question must tell it from the right one."""

from collections.abc import Callable
from dataclasses import dataclass

from parity.controls.wrong_answers import Wrong
from parity.question import Arrays, Network, Question, Task


@dataclass(frozen=True)
class NegativeControl:
    """A wrong port as somebody made it, which the proof must tell from the right one.

    Attributes:
        name: Short name.
        description: What is done wrong, as a sentence fragment.
        task: Which questions show it.
        wrong: The wrong answer to a question, given our side.
        case: Which case of that task; None for any.
        shows: Whether networks of these sizes can show it at all.
        right: What to compare with where the other side computes something else.
    """

    name: str
    description: str
    task: Task
    wrong: Wrong
    case: str | None = None
    shows: Callable[[Network], bool] = lambda network: True
    right: Callable[[Question], Arrays] | None = None

    def concerns(self, question: Question) -> bool:
        """Whether this question, asked in float64, must catch the wrong port."""
        return (
            question.task == self.task
            and question.dtype == "float64"
            and self.case in (None, question.name)
            and self.shows(question.network)
        )
