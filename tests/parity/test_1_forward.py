import numpy as np
import pytest
import torch
from conftest import CASES, Answers

from grulight.kernels.reference import Array, Step, gru_step
from grulight.model import GRUNet
from parity.cases import Case, saturating_question
from parity.compare import compare
from parity.question import Network, Side
from parity.rungs import judge, rung_of
from parity.sides.reference_side import answer as reference_answer
from parity.sides.reference_side import forward
from parity.sides.torch_network import hidden_states
from parity.sides.torch_side import TorchSide
from parity.tolerances import float32_floor, noise_floor


def test_every_hidden_state_and_logit_agrees_to_1e_14(case: Case, answers: Answers) -> None:
    ours, theirs = answers(case.name, "float64")
    found = [d for d in compare(ours, theirs) if rung_of(d.tensor) == 1]
    likely = set() if case.network.answer == "values" else {"probabilities"}
    assert {d.tensor.split(".")[0] for d in found} == {"hidden", "last", "logits"} | likely
    for difference in found:
        assert difference.relative <= 1e-14, difference


def test_both_sides_equal_the_numpy_reference(case: Case, answers: Answers) -> None:
    expected = reference_answer(case.question())
    for answer in answers(case.name, "float64"):
        for difference in compare(answer, expected):
            assert difference.relative <= 1e-13, difference


@pytest.mark.parametrize("name", ["random_weights_ragged_odd_batch", "binary_without_bias"])
def test_float32_stays_within_the_noise_of_keras(name: str, answers: Answers, theirs: Side) -> None:
    question = CASES[name].question().as_dtype("float32")
    our_answer, their_answer = answers(name, "float32")
    floors = noise_floor(theirs, question, their_answer)
    findings = judge(question, our_answer, their_answer, floors)
    assert {finding.rung for finding in findings} == {1, 2, 3}
    for finding in findings:
        assert finding.same, finding


def test_saturating_inputs_show_gates_that_end_early(theirs: Side) -> None:
    def early(a: Array, *more: Array) -> Step:
        return gru_step(np.clip(a, -8, 8), *more)

    question = saturating_question(Network(5, 3, 6)).as_dtype("float32")
    their_answer = theirs(question)
    floors = float32_floor(theirs, question, their_answer)
    assert not any(name.startswith(("grad", "lossgrad")) for name in their_answer)
    assert all(f.same for f in judge(question, TorchSide()(question), their_answer, floors))
    wrong, _ = forward(question, early)
    found = judge(question, wrong, {name: their_answer[name] for name in wrong}, floors)
    assert all(finding.differs for finding in found if finding.difference.tensor != "loss")


def test_outputs_past_the_end_are_zero_on_both_sides(answers: Answers) -> None:
    for answer in answers("random_weights_ragged_odd_batch", "float64"):
        assert not answer["hidden.l0.forward"][-1, 1:].any()
        assert np.abs(answer["hidden.l0.forward"][-1, 0]).min() > 0


def test_lower_layers_compute_in_the_precision_of_their_stack() -> None:
    net = GRUNet(3, 2, 4, num_layers=2).double()
    values = torch.zeros(2, 5, 3, dtype=torch.float64)
    _, hidden, _ = hidden_states(net, values, torch.tensor([5, 2]), None)
    assert {name: each.dtype for name, each in hidden.items()} == {
        "l0.forward": torch.float64,
        "l1.forward": torch.float64,
    }
