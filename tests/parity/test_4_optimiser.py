from dataclasses import replace

import numpy as np
import pytest

from parity.cases import OPTIMIZERS, STEPS, Case, step_question
from parity.compare import compare
from parity.question import Network, Precision, Question, Side
from parity.sides.keras_side import KerasSide
from parity.tolerances import FLOAT64_BOUND

NETWORK = Network(2, 3, 4)
WEIGHTS = Case("small", NETWORK).weights()


def question_for(optimizer: str, dtype: Precision) -> Question:
    return step_question(NETWORK, WEIGHTS, optimizer).as_dtype(dtype)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_agree_after_each_of_fifty_steps(optimizer: str, ours: Side, theirs: Side) -> None:
    question = question_for(optimizer, "float64")
    our_answer, their_answer = ours(question), theirs(question)
    assert their_answer["step.head.bias"].shape == (STEPS, 3)
    for difference in compare(our_answer, their_answer):
        assert difference.relative <= FLOAT64_BOUND, difference


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_steps_agree_to_the_last_bit_with_eager_keras(optimizer: str, ours: Side) -> None:
    question = question_for(optimizer, "float32")
    our_answer, their_answer = ours(question), KerasSide("eager")(question)
    for name, array in their_answer.items():
        np.testing.assert_array_equal(our_answer[name], array, name)


@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_adam_agrees_to_the_last_bit_for_large_and_tiny_gradients(
    size: float, ours: Side, theirs: Side
) -> None:
    question = question_for("adam", "float32")
    inputs = {
        name: (np.sign(array) * np.float32(size)).astype(np.float32)
        if name.startswith(("base.", "side."))
        else array
        for name, array in question.inputs.items()
    }
    question = replace(question, inputs=inputs)
    our_answer, their_answer = ours(question), theirs(question)
    for name, array in their_answer.items():
        np.testing.assert_array_equal(our_answer[name], array, name)
