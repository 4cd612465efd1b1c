"""What random inputs alone do not show: state that only training moves, and inputs at the edge."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from grulight.keras_files.layers.base import Signal
from grulight.keras_files.layers.normalization import BatchNormalization, LayerNormalization
from grulight.keras_files.layers.recurrent_base import Recurrent
from grulight.keras_files.port import load_keras
from parity.keras_files.ask import ask
from parity.keras_files.edge_inputs import (
    EDGES,
    HUGE,
    MASKED,
    ONE,
    ROWS,
    STEP,
    edges,
    masked_throughout,
)
from parity.keras_files.file_questions import FileQuestions, random_weights
from parity.keras_files.inputs import Input, inputs_of
from parity.keras_files.keras_open import Opened, _copy, variables_of
from parity.keras_files.keras_witness import Witness
from parity.keras_files.layout import by_path
from parity.keras_files.ported_side import PortedSide
from parity.question import Precision, Question
from parity.result import Result
from parity.sides.keras_setup import keras
from parity.sides.quiet import without_warnings

Sides = tuple[FileQuestions, PortedSide, Witness]
Change = Callable[[nn.Module], None]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            layers.Masking(0.5),
            layers.GRU(2, return_sequences=True, zero_output_for_mask=True),
            layers.BatchNormalization(momentum=0.7, name="batch_normalization"),
            layers.Dense(2, name="dense"),
        ]
    )
    return sides_of(model, tmp_path_factory.mktemp("edges") / "model.keras")


def sides_of(model: Any, path: Path) -> Sides:
    with without_warnings():
        model.save(path)
    ported = load_keras(path)
    ours, weights = PortedSide(ported), by_path(ported.keras_arrays())
    inputs = inputs_of(ported.network.graph, weights)
    read = {name: v.numpy() for name, v in variables_of(model).items()}
    theirs = Witness(Opened(lambda dtype: _copy(model, dtype), "Keras", read))
    return FileQuestions(ported.network.graph, weights, inputs, ours.trained), ours, theirs


def edge(sides: Sides, name: str) -> Question:
    file_questions, ours, _ = sides
    found = edges(file_questions.graph, file_questions.inputs, file_questions.random(ours))
    return next(question for question in found if question.name == name)


def asked(sides: Sides, change: Change, name: str, dtype: Precision = "float64") -> Result:
    """Ask one question of a port with a mistake in it."""
    file_questions, ours, theirs = sides
    result = Result("x", "", "ours", "theirs", {})
    random = file_questions.random(ours)
    if name == "training":
        questions = [file_questions.training(random_weights(file_questions.weights, 100))]
    else:
        found = edges(file_questions.graph, file_questions.inputs, random)
        questions = [question for question in found if question.name == name]
    for question in questions:
        ask(result, question.as_dtype(dtype), ours.changed(change), theirs)
    assert result.findings
    return result


def nothing(module: nn.Module) -> None:
    pass


def momentum_turned(module: nn.Module) -> None:
    if isinstance(module, BatchNormalization):
        module.momentum = 1 - module.momentum


def frozen(module: nn.Module) -> None:
    if isinstance(module, BatchNormalization):
        module.frozen = True


def zero_output_forgotten(module: nn.Module) -> None:
    if isinstance(module, Recurrent):
        module.zero_masked = False


def state_forgotten(module: nn.Module) -> None:
    if isinstance(module, Recurrent):
        forward = module.forward
        module.forward = lambda *signals: forward(signals[0])


def mask_lost_where_all_is_masked(module: nn.Module) -> None:
    """Read rows that are masked throughout as if they were not masked."""
    if isinstance(module, Recurrent):
        forward = module.forward

        def wrong(*signals: Signal) -> Any:
            (x, mask), *rest = signals
            return forward(Signal(x, mask | ~mask.any(1, keepdim=True)), *rest)

        module.forward = wrong


def test_moving_statistics_agree_after_every_step(sides: Sides) -> None:
    result = asked(sides, nothing, "training")
    compared = {finding.difference.tensor for finding in result.findings}
    assert {f"train.batch_normalization/moving_{name}" for name in ("mean", "variance")} <= compared
    assert all(finding.same for finding in result.findings)


@pytest.mark.parametrize("change", [momentum_turned, pytest.param(frozen, marks=pytest.mark.slow)])
def test_a_wrong_way_to_move_statistics_is_different(sides: Sides, change: Change) -> None:
    wrong = [f.difference.tensor for f in asked(sides, change, "training").findings if f.differs]
    assert "train.batch_normalization/moving_mean" in wrong
    assert "train.batch_normalization/moving_variance" in wrong


@pytest.mark.parametrize("name", EDGES)
def test_a_right_port_agrees_at_every_edge(sides: Sides, name: str) -> None:
    assert all(finding.same for finding in asked(sides, nothing, name).findings)


@pytest.mark.parametrize("change", [zero_output_forgotten, mask_lost_where_all_is_masked])
def test_rows_masked_throughout_show_what_is_wrong_there(sides: Sides, change: Change) -> None:
    assert any(finding.differs for finding in asked(sides, change, MASKED).findings)


@pytest.mark.parametrize("name", [ONE, HUGE])
def test_states_that_are_inputs_of_the_model_are_asked_at_the_edge(
    name: str, tmp_path: Path
) -> None:
    layers = keras.layers
    x, h = keras.Input((None, 3), name="x"), keras.Input((2,), name="h")
    states = layers.GRU(2, return_state=True, name="gru")(layers.Masking(0.5)(x), initial_state=h)
    given = sides_of(keras.Model([x, h], layers.Dense(1)(states[1])), tmp_path / "model.keras")
    assert "input.h" in edge(given, name).inputs
    assert all(finding.same for finding in asked(given, nothing, name).findings)
    wrong = asked(given, state_forgotten, name).findings
    assert name == HUGE or any(finding.differs for finding in wrong)


@pytest.fixture(scope="module")
def normalised(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((9, 3)),
            layers.GRU(4, return_sequences=True),
            layers.LayerNormalization(epsilon=1e-5, scale=False),
        ]
    )
    return sides_of(model, tmp_path_factory.mktemp("normalised") / "model.keras")


def added_to(module: nn.Module, number: float) -> None:
    if isinstance(module, LayerNormalization):
        compute = module.compute
        module.compute = lambda x: compute(x) + number


def off_by_little(module: nn.Module) -> None:
    added_to(module, 2e-4)


def epsilon_of_another_layer(module: nn.Module) -> None:
    if isinstance(module, LayerNormalization):
        module.epsilon = 1e-3


def not_a_number(module: nn.Module) -> None:
    added_to(module, np.nan)


def test_rounding_behind_saturated_states_is_no_difference(normalised: Sides) -> None:
    [finding] = asked(normalised, nothing, HUGE, "float32").findings
    assert finding.same
    assert finding.difference.relative > 8 * 2.0**-23  # what was allowed if a nudge moved nothing


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("change", [off_by_little, epsilon_of_another_layer, not_a_number])
def test_a_wrong_layer_behind_saturated_states_is_different(
    normalised: Sides, change: Change, dtype: Precision
) -> None:
    [finding] = asked(normalised, change, HUGE, dtype).findings
    assert finding.differs


def test_a_single_step_is_asked_where_the_file_leaves_their_number_open(sides: Sides) -> None:
    file_questions, ours, _ = sides
    name, found = (
        file_questions.inputs[0].name,
        edges(file_questions.graph, file_questions.inputs, file_questions.random(ours)),
    )
    shapes = {question.name: question.inputs[f"input.{name}"].shape for question in found}
    assert {shape[0] for shape in shapes.values()} == {1, 33, ROWS}
    assert shapes[STEP] == (ROWS, 1, 3)


def test_masks_reach_from_none_to_all_steps() -> None:
    rows = masked_throughout(np.zeros((7, 5), bool))
    assert rows.sum(axis=1).tolist() == [5, 4, 4, 1, 5, 4, 4]
    assert not rows[1, -1]
    assert not rows[2, 0]


def test_single_features_have_the_value_that_masks_without_masking_the_step() -> None:
    drawn = Input("x", (None, 9, 3), "float", masked_by=0.5).draw(5, np.random.default_rng(0))
    alike = drawn["input.x"] == 0.5
    assert alike.any(axis=(1, 2)).all()
    assert not alike.all(axis=2).any()


def test_a_side_that_does_not_answer_twice_alike_is_named_and_nothing_is_told(
    sides: Sides,
) -> None:
    file_questions, ours, _ = sides
    rng = np.random.default_rng(0)

    def restless(question: Any) -> dict[str, np.ndarray]:
        return {n: a + 1e-16 * rng.normal(size=a.shape) for n, a in ours(question).items()}

    result = Result("x", "", "ours", "theirs", {})
    question = next(edges(file_questions.graph, file_questions.inputs, file_questions.random(ours)))
    ask(result, question, ours, restless)
    assert (result.findings, result.verdict) == ([], "could not tell")
    assert result.unsteady == [
        "theirs gives other bits of output.dense the second time (one_sequence, float64)"
    ]


def test_what_neither_side_has_a_number_for_is_left_out_and_named(
    sides: Sides,
) -> None:
    file_questions, ours, _ = sides
    question = next(edges(file_questions.graph, file_questions.inputs, file_questions.random(ours)))

    def holed(where: int) -> Callable[[Any], dict[str, np.ndarray]]:
        def side(question: Any) -> dict[str, np.ndarray]:
            answer = ours(question)["output.dense"].copy()
            answer[0, where] = np.nan
            return {"output.dense": answer}

        return side

    for where, verdict in ((1, True), (2, False)):
        result = Result("x", "", "ours", "theirs", {})
        ask(result, question, holed(1), holed(where))
        assert all(finding.same for finding in result.findings) is verdict
        said = "same NaN or infinity in places of output.dense" in " ".join(result.notes)
        assert said is verdict
