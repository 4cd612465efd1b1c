"""Ask both sides a question, each twice: what has other bits the second time compares nothing."""

from collections.abc import Callable, Collection
from functools import partial

from parity.question import Arrays, Question, Side
from parity.result import Result
from parity.tolerances import unsteady


def both_answers(
    result: Result, question: Question, ours: Side, theirs: Side
) -> tuple[Arrays, Arrays, set[str]]:
    """Return our answer, their answer, and the arrays that a side does not give twice.

    A side that draws random numbers, or reads memory that nobody wrote, agrees with nothing and
    with anything; its arrays are named in ``result``.
    """
    answers: list[Arrays] = []
    shaky: set[str] = set()
    for name, side in ((result.ours, ours), (result.theirs, theirs)):
        answer, found = answer_twice(result, name, question, partial(side, question))
        answers.append(answer)
        shaky |= found
    return answers[0], answers[1], shaky


def answer_twice(
    result: Result, name: str, question: Question, ask: Callable[[], Arrays]
) -> tuple[Arrays, set[str]]:
    """Return an answer and the arrays that have other bits when asked for again."""
    answer = ask()
    found = unsteady(answer, ask())
    if found:
        several = f" and {len(found) - 1} more" if len(found) > 1 else ""
        result.unsteady.append(
            f"{name} gives other bits of {found[0]}{several} the second time "
            f"({question.name}, {question.dtype})"
        )
    return answer, set(found)


def without(answer: Arrays, names: Collection[str]) -> Arrays:
    """Return an answer without these arrays."""
    return {name: array for name, array in answer.items() if name not in names}
