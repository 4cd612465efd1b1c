"""Keras' initialisers: what the drawn weights must satisfy, whatever the numbers are."""

import math

import pytest
import torch
from torch import Tensor, nn

from grulight.init import keras_init_
from grulight.model import GRUNet


def initialised(seed: int = 0, **options: object) -> dict[str, Tensor]:
    network = GRUNet(**{"input_size": 5, "num_outputs": 3, "hidden_size": 16} | options)
    keras_init_(network, torch.Generator().manual_seed(seed))
    return {name: weight.detach() for name, weight in network.named_parameters()}


DEEP = {"num_layers": 2, "bidirectional": True}
GRU_INPUTS = {"l0": 5, "l0_reverse": 5, "l1": 32, "l1_reverse": 32}


@pytest.mark.parametrize(("suffix", "inputs"), GRU_INPUTS.items())
def test_input_weights_fill_the_limit_of_the_fused_matrix(suffix: str, inputs: int) -> None:
    weights = torch.cat(
        [initialised(seed, **DEEP)[f"gru.weight_ih_{suffix}"].flatten() for seed in range(20)]
    )
    limit = math.sqrt(6 / (inputs + 3 * 16))
    assert 0.999 * limit < weights.abs().max() <= limit
    assert weights.std() == pytest.approx(limit / math.sqrt(3), rel=0.03)
    assert abs(weights.mean()) < 0.03 * limit


@pytest.mark.parametrize("suffix", GRU_INPUTS)
def test_the_whole_recurrent_matrix_is_orthonormal_and_its_gates_are_not(suffix: str) -> None:
    recurrent = initialised(**DEEP)[f"gru.weight_hh_{suffix}"].double()
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(16).double(), rtol=0, atol=1e-6)
    for gate in recurrent.chunk(3):
        assert (gate @ gate.T - torch.eye(16)).abs().max() > 0.1


def test_the_signs_of_the_decomposition_are_fixed() -> None:
    """Without Keras' sign fix, Householder QR makes the first entry of A's column lean one way."""
    first = [initialised(seed)["gru.weight_hh_l0"][0, 0].item() for seed in range(200)]
    assert 60 < sum(value > 0 for value in first) < 140


def test_biases_are_zero_and_the_head_is_glorot() -> None:
    weights = initialised(**DEEP)
    assert all(not weight.any() for name, weight in weights.items() if "bias" in name)
    limit = math.sqrt(6 / (32 + 3))
    assert 0.9 * limit < weights["head.weight"].abs().max() <= limit


def test_layers_and_directions_are_drawn_apart() -> None:
    weights = initialised(**DEEP)
    recurrent = [weights[f"gru.weight_hh_{suffix}"] for suffix in GRU_INPUTS]
    assert all(not torch.equal(recurrent[i], recurrent[j]) for i in range(4) for j in range(i))


def test_one_seed_gives_one_network() -> None:
    ours, again, other = initialised(1), initialised(1), initialised(2)
    assert all(torch.equal(ours[name], again[name]) for name in ours)
    assert not torch.equal(ours["gru.weight_hh_l0"], other["gru.weight_hh_l0"])


def test_without_a_generator_the_global_seed_decides() -> None:
    network = GRUNet(5, 3)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        keras_init_(network)
        drawn.append(network.gru.weight_hh_l0.detach().clone())
    assert torch.equal(*drawn)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_network_of_another_dtype_gets_the_same_numbers_rounded(dtype: torch.dtype) -> None:
    network = GRUNet(5, 3).double()
    keras_init_(network, torch.Generator().manual_seed(0))
    rounded = GRUNet(5, 3).to(dtype)
    keras_init_(rounded, torch.Generator().manual_seed(0))
    for ours, exact in zip(rounded.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, exact.to(dtype))


def test_works_in_place_without_biases_and_leaves_other_layers_alone() -> None:
    network = nn.Sequential(nn.GRU(2, 3, bias=False), nn.Conv1d(3, 3, 1), nn.Linear(3, 1))
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    places = {name: weight.data_ptr() for name, weight in network.named_parameters()}
    keras_init_(network)
    for name, weight in network.named_parameters():
        assert torch.equal(weight, before[name]) == name.startswith("1."), name
        assert weight.data_ptr() == places[name]
        assert weight.requires_grad
        assert weight.grad_fn is None
