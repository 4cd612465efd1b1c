import pytest

from parity.cases import Case
from parity.question import Precision, Question, Side


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_weights_go_to_keras_and_back_bit_for_bit(
    case: Case, dtype: Precision, ours: Side, theirs: Side
) -> None:
    question = Question("own", "weights", case.network, case.weights(), {}).as_dtype(dtype)
    our_answer, their_answer = ours(question), theirs(question)
    assert our_answer.keys() == their_answer.keys()
    for name, array in their_answer.items():
        assert our_answer[name].dtype == array.dtype
        assert our_answer[name].tobytes() == array.tobytes(), name
    for name, array in question.weights.items():
        assert their_answer[f"weights.{name}"].tobytes() == array.tobytes(), name
