"""The promise that neither torch nor Keras makes: one sequence, the same bits anywhere."""

import pytest
import torch
from torch import Tensor

from grulight.kernels import threads
from grulight.kernels.fused import FusedGRU
from grulight.model import GRUNet

BATCH = 70  # two blocks and a bit


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def net(request: pytest.FixtureRequest) -> GRUNet:
    return GRUNet(5, 3, 19, 2, bidirectional=True, kernel="numba").to(request.param)


@pytest.fixture
def values(net: GRUNet) -> Tensor:
    return torch.randn(BATCH, 11, 5, dtype=net.head.weight.dtype)


@pytest.fixture
def lengths() -> Tensor:
    return torch.randint(1, 12, (BATCH,))


def by_sequence(gru: FusedGRU, values: Tensor, lengths: Tensor | None) -> list[Tensor]:
    """Return states, last states and derivatives by the values, each with the batch first."""
    leaf = values.clone().requires_grad_()
    out, last = gru(leaf, lengths=lengths)
    (out.square().sum() + last.sum()).backward()
    assert leaf.grad is not None
    return [out.detach(), last.detach().transpose(0, 1), leaf.grad]


def weight_gradients(gru: FusedGRU, values: Tensor, lengths: Tensor | None) -> list[Tensor]:
    out, last = gru(values, lengths=lengths)
    # a derivative that no sum of torch's takes part in: that may depend on threads
    objective = (out[:, 0] * out[:, 0].detach()).sum() + (last * last.detach()).sum()
    return list(torch.autograd.grad(objective, list(gru.parameters())))


def assert_same_bits(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_a_sequence_has_the_same_bits_in_any_batch_at_any_place(
    net: GRUNet, values: Tensor, lengths: Tensor, ragged: bool
) -> None:
    whole = by_sequence(net.gru, values, lengths if ragged else None)
    order = torch.randperm(BATCH)
    for chosen in (order, order[:33], order[:4], order[:1], order[1:3]):
        part = by_sequence(net.gru, values[chosen], lengths[chosen] if ragged else None)
        assert_same_bits(part, [array[chosen] for array in whole])


def test_longer_padding_changes_no_bit(net: GRUNet, values: Tensor, lengths: Tensor) -> None:
    longer = torch.cat((values, torch.full_like(values, torch.nan)), 1)
    ours = by_sequence(net.gru, values, lengths)
    theirs = by_sequence(net.gru, longer, lengths)
    assert_same_bits(ours, [theirs[0][:, :11], theirs[1], theirs[2][:, :11]])
    assert_same_bits(
        weight_gradients(net.gru, values, lengths), weight_gradients(net.gru, longer, lengths)
    )


@pytest.mark.parametrize("count", [2, 3])
def test_the_number_of_threads_changes_no_bit(
    net: GRUNet, lengths: Tensor, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = torch.randn(1100, 11, 5, dtype=net.head.weight.dtype)  # more blocks than groups
    ragged = torch.randint(1, 12, (1100,))
    found = []
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    for number in (1, count):
        torch.set_num_threads(number)
        found.append(
            by_sequence(net.gru, values, ragged) + weight_gradients(net.gru, values, ragged)
        )
    torch.set_num_threads(1)
    assert_same_bits(*found)


def test_gradients_are_the_same_each_time(net: GRUNet, values: Tensor) -> None:
    first = weight_gradients(net.gru, values, None)
    assert_same_bits(first, weight_gradients(net.gru, values, None))
