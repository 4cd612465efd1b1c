"""A check whose sides try to fool it, with the NumPy reference as both."""

from collections.abc import Callable

import numpy as np
import pytest

from parity.cases import RAGGED, Case
from parity.check import LiveSide, climb
from parity.question import Arrays, Network, Question, Side
from parity.result import Result
from parity.sides.reference_side import answer

QUESTION = Case(RAGGED, Network(2, 3, 4)).question()


def honest(question: Question) -> Arrays:
    return {name: np.asarray(array, question.dtype) for name, array in answer(question).items()}


def in_float32(change: Callable[[np.ndarray], np.ndarray]) -> Side:
    """Return a side that is right in float64, and otherwise in float32."""

    def side(question: Question) -> Arrays:
        found = honest(question)
        if question.dtype == "float64":
            return found
        return {n: np.asarray(change(array), array.dtype) for n, array in found.items()}

    return side


def climbed(ours: Side, theirs: Side) -> Result:
    result = Result("x", "0", "ours", "theirs", {})
    climb(result, [QUESTION], ours, LiveSide(theirs))
    return result


def test_honest_sides_are_the_same() -> None:
    assert climbed(honest, honest).words == "the same"


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_kernel_that_puts_out_one_value_in_float32_is_different(value: float) -> None:
    result = climbed(in_float32(lambda array: np.full_like(array, value)), honest)
    assert result.verdict == "different"
    assert "float32" in result.reason
    result = climbed(honest, in_float32(lambda array: np.full_like(array, value)))
    assert result.verdict == "different"


def test_noise_in_float32_is_different_though_it_moves_more_than_it_errs() -> None:
    def noisy(array: np.ndarray) -> np.ndarray:
        seed = int.from_bytes(array.tobytes()[:4], "little")  # the same bits twice
        return array + np.random.default_rng(seed).normal(size=array.shape)

    assert climbed(in_float32(noisy), honest).verdict == "different"


def test_what_neither_side_has_a_number_for_decides_nothing() -> None:
    nowhere = in_float32(lambda array: np.full_like(array, np.nan))
    result = climbed(nowhere, nowhere)
    assert result.verdict == "could not tell"
    assert "neither side has a number in" in result.reason


@pytest.mark.parametrize("restless", ["ours", "theirs"])
def test_a_side_that_is_random_is_named_and_not_compared(restless: str) -> None:
    rng = np.random.default_rng(0)
    random = in_float32(lambda array: array + rng.normal(size=array.shape))
    sides = {"ours": honest, "theirs": honest, restless: random}
    result = climbed(**sides)
    assert result.verdict == "could not tell"
    assert f"{restless} gives other bits of" in result.reason
    assert {finding.dtype for finding in result.findings} == {"float64"}
