from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from grulight.keras_files.layers.layout import network_to_keras
from grulight.kernels.steps import train_steps
from parity.cases import random_labels, training_question
from parity.compare import compare
from parity.question import Arrays, Network, Question, Side, batches_of
from parity.rungs import judge
from parity.sides.keras_pipeline import original_pipeline
from parity.sides.keras_side import KerasSide
from parity.sides.torch_network import fresh_network, weights_of
from parity.sides.torch_side import TorchSide
from parity.tolerances import FLOAT64_BOUND, noise_floor

NETWORK = Network(5, 3)


def data(ragged: bool = False) -> Arrays:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(800, 10, 5)).astype(np.float32).astype(np.float64)
    labels = (values[:, :, :2].mean(axis=1) > 0).sum(axis=1)
    found = {"values": values, "labels": labels}
    return found | ({"lengths": rng.integers(1, 11, 800)} if ragged else {})


def question(ragged: bool = False) -> Question:
    return training_question("random", NETWORK, weights_of(fresh_network(NETWORK)), data(ragged))


@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
def test_losses_and_weights_agree_through_all_125_steps(
    ragged: bool, ours: Side, theirs: Side
) -> None:
    asked = question(ragged)
    our_answer, their_answer = ours(asked), theirs(asked)
    assert their_answer["train.loss"].shape == (125,)
    assert their_answer["train.gru.weight_hh_l0"].shape == (125, 48, 16)
    assert their_answer["train.loss"][-25:].mean() < their_answer["train.loss"][:25].mean()
    for difference in compare(our_answer, their_answer):
        assert difference.relative <= FLOAT64_BOUND, difference


@pytest.mark.parametrize(
    "network",
    [
        Network(5, 2, 6, answer="labels"),
        Network(5, 1, 6, answer="values"),
        Network(5, 3, 6, per_step=True),
        Network(5, 2, 6, per_step=True, answer="values"),
        Network(5, 3, 6, num_layers=2, bidirectional=True),
    ],
    ids=["labels", "a value", "classes per step", "values per step", "two layers both ways"],
)
def test_other_answers_are_trained_to_the_same_weights(network: Network, theirs: Side) -> None:
    given = {name: array[:160] for name, array in data(ragged=True).items()}
    shape = (160, 10) if network.per_step else (160,)
    given["labels"] = random_labels(network, shape, np.random.default_rng(1))
    start = weights_of(fresh_network(network))
    asked = training_question("random", network, start, given, epochs=3)
    their_answer, side = theirs(asked), TorchSide("numba")
    for difference in compare(side(asked), their_answer):
        assert difference.relative <= FLOAT64_BOUND, difference
    answer, kept = side.together(asked)
    assert kept == [4, 9, 14]
    shared = {n: a if n == "train.loss" else a[kept] for n, a in their_answer.items()}
    for difference in compare(answer, shared):
        assert difference.relative <= FLOAT64_BOUND, difference


def test_a_training_that_diverges_differs_from_one_that_does_not(theirs: Side) -> None:
    asked = question()
    wrong = asked.weights | {"head.bias": np.full(3, np.inf)}
    diverging, ours = replace(asked, weights=wrong), TorchSide("numba")
    for answer in (ours(diverging), ours.together(diverging)[0]):
        assert answer["train.loss"].shape == (125,)
        assert np.isnan(answer["train.gru.weight_hh_l0"][-1]).all()
        worst = max(each.relative for each in compare(answer, theirs(asked)))
        assert worst == np.inf


@pytest.mark.parametrize("kernel", ["torch", "numba"])
def test_many_steps_at_once_take_the_same_trajectory(
    kernel: str, theirs: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def spy(*arguments: Any) -> Any:
        compiled.append(len(arguments[5]))
        return train_steps(*arguments)

    monkeypatch.setattr("grulight.training.many_steps.train_steps", spy)
    asked = question(ragged=True)
    answer, kept = TorchSide(kernel).together(asked)
    assert compiled == ([25] * 5 if kernel == "numba" else [])
    assert kept == [24, 49, 74, 99, 124]
    shared = {n: a if n == "train.loss" else a[kept] for n, a in theirs(asked).items()}
    for difference in compare(answer, shared):
        assert difference.relative <= FLOAT64_BOUND, difference


def test_float32_drift_stays_within_the_drift_of_a_nudge(ours: Side, theirs: Side) -> None:
    asked = question().as_dtype("float32")
    our_answer, their_answer = ours(asked), theirs(asked)
    floors = noise_floor(theirs, asked, their_answer)
    for finding in judge(asked, our_answer, their_answer, floors):
        assert finding.same, finding


def test_their_trajectory_is_that_of_train_on_batch(theirs: KerasSide) -> None:
    asked = question().as_dtype("float32")
    model = original_pipeline(NETWORK)
    gru, dense = model.layers[-2:]
    ported = network_to_keras(asked.weights)
    gru.set_weights([ported[f"gru_0/forward/{n}"] for n in ("kernel", "recurrent_kernel", "bias")])
    dense.set_weights([ported["dense/kernel"], ported["dense/bias"]])
    losses = []
    for batch in batches_of(asked):
        mask = np.ones(batch.inputs["values"].shape[:2], bool)
        model.reset_metrics()
        targets = np.eye(3)[batch.inputs["labels"]]
        losses.append(model.train_on_batch([batch.inputs["values"], mask], targets)[0])
    np.testing.assert_allclose(losses, theirs(asked)["train.loss"], rtol=2e-6)


@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
def test_steps_that_a_gpu_records_train_as_one_by_one(
    ragged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from replaying import Replaying

    from grulight.training import capture

    asked, side = question(ragged), TorchSide("numba")
    expected = side(asked)
    monkeypatch.setitem(capture.CAPTURES, "cpu", Replaying)
    answer, kept = side.together(asked)
    assert kept == [24, 49, 74, 99, 124]
    for name, found in answer.items():
        np.testing.assert_array_equal(
            found, expected[name] if name == "train.loss" else expected[name][kept]
        )
