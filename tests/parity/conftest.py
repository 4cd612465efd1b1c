"""Both sides, started once, and the answers that several rungs share."""

from collections.abc import Callable
from functools import cache

import pytest

from parity.cases import RAGGED, Case
from parity.question import Arrays, Network, Precision, Side
from parity.sides.keras_side import KerasSide
from parity.sides.torch_side import TorchSide

CASES = {
    case.name: case
    for case in (
        Case(RAGGED, Network(5, 3)),
        Case("whole_sequences_without_state", Network(5, 3), time=33, ragged=False, h0=False),
        Case("two_layers_two_ways", Network(4, 3, 7, num_layers=2, bidirectional=True)),
        Case("binary_without_bias", Network(3, 1, 6, bias=False)),
        Case("several_labels", Network(3, 4, 6, answer="labels")),
        Case("classes_per_step", Network(3, 3, 6, bidirectional=True, per_step=True)),
        Case("values_per_step", Network(3, 2, 6, per_step=True, answer="values")),
    )
}
Answers = Callable[[str, Precision], tuple[Arrays, Arrays]]


@pytest.fixture(scope="session")
def ours() -> TorchSide:
    return TorchSide()


@pytest.fixture(scope="session")
def theirs() -> KerasSide:
    return KerasSide()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="session")
def answers(ours: Side, theirs: Side) -> Answers:
    @cache
    def both(name: str, dtype: Precision) -> tuple[Arrays, Arrays]:
        question = CASES[name].question().as_dtype(dtype)
        return ours(question), theirs(question)

    return both
