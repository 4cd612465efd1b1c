"""Wrong ports of every architecture are caught; the other side is the NumPy reference here."""

from dataclasses import replace

import numpy as np
import pytest

from parity.cases import (
    RAGGED,
    Case,
    loss_question,
    random_labels,
    step_question,
    training_question,
)
from parity.control_findings import controls_for, try_control
from parity.controls.negative_control import NegativeControl
from parity.controls.wrong_ports import NEGATIVE_CONTROLS
from parity.question import Network, Question, Side
from parity.sides.reference_side import answer as reference_answer
from parity.sides.torch_network import fresh_network, weights_of
from parity.sides.torch_side import TorchSide

NETWORKS = {
    "default": Network(5, 3),
    "two layers, two ways": Network(4, 3, 7, num_layers=2, bidirectional=True),
    "no bias": Network(5, 3, bias=False),
    "binary": Network(5, 1),
    "one unit": Network(3, 2, 1),
    "labels": Network(3, 3, 5, answer="labels"),
    "classes per step": Network(3, 3, 5, per_step=True),
    "values per step": Network(3, 2, 5, per_step=True, answer="values"),
}


def questions(network: Network) -> list[Question]:
    weights = weights_of(fresh_network(network))
    rng = np.random.default_rng(1)
    values = rng.normal(size=(96, 5, network.input_size)).astype(np.float32).astype(np.float64)
    data = {"values": values, "labels": (values.sum(axis=(1, 2)) > 0).astype(np.int64)}
    if network.per_step or network.answer != "classes":
        answered = (96, 5) if network.per_step else (96,)
        data["labels"] = random_labels(network, answered, rng)
    return [
        Case(RAGGED, network).question(),
        loss_question(network),
        *(step_question(network, weights, name) for name in ("adam", "rmsprop", "adamw")),
        training_question("random", network, weights, data, epochs=2),
    ]


def theirs_of(question: Question, ours: Side) -> dict:
    return reference_answer(question) if question.task in ("network", "losses") else ours(question)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_wrong_port_exceeds_the_bound_a_thousandfold(network: Network) -> None:
    ours, tried = TorchSide(), []
    for question in questions(network):
        theirs = theirs_of(question, ours)
        for control in controls_for(question):
            found = try_control(control, question, ours, theirs)
            assert found.factor >= 1000, control.name
            tried.append(control.name)
    expected = {control.name for control in NEGATIVE_CONTROLS if control.shows(network)}
    assert set(tried) == expected
    assert len(tried) == len(expected) >= 10


def test_wrong_ports_that_a_network_cannot_show_are_those_of_absent_parts() -> None:
    cannot = {
        control.name for control in NEGATIVE_CONTROLS if not control.shows(NETWORKS["no bias"])
    }
    biases = {"bias rows swapped", "recurrent bias folded", "biases forgotten"}
    assert cannot == biases | {"directions swapped", "padding counted"}


@pytest.mark.parametrize("name", ["bias rows swapped", "recurrent bias folded", "reset before"])
def test_a_fresh_layer_is_blind_to_this(name: str) -> None:
    """Zero biases, zero state and one step hide the mistake, and the control says so."""
    network = Network(5, 3)
    case = Case(RAGGED, network, time=1, ragged=False)
    question = replace(case.question(), weights=weights_of(fresh_network(network)))
    question.inputs["h0"] = np.zeros_like(question.inputs["h0"])
    [control] = [control for control in NEGATIVE_CONTROLS if control.name == name]
    forward_only = replace(control, wrong=_forward_only(control))
    found = try_control(forward_only, question, TorchSide(), reference_answer(question))
    assert not found.caught


def _forward_only(control: NegativeControl) -> object:
    def wrong(question: Question, ours: Side) -> dict:
        answer = control.wrong(question, ours)
        return {name: array for name, array in answer.items() if name.startswith("hidden")}

    return wrong
