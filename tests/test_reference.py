"""The judge is judged: against torch's forward pass, and against finite differences."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from grulight.kernels import reference
from grulight.kernels.reference import Arrays
from grulight.model import GRUNet

Inputs = tuple[np.ndarray, np.ndarray]

SHAPES = {
    "one layer": {},
    "three layers": {"num_layers": 3},
    "two ways": {"bidirectional": True},
    "two layers, two ways": {"num_layers": 2, "bidirectional": True},
    "no bias": {"bias": False},
    "one logit": {"num_outputs": 1},
}
LENGTHS = np.array([6, 1, 4])


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def net(request: pytest.FixtureRequest) -> GRUNet:
    torch.manual_seed(3)
    return GRUNet(**{"input_size": 3, "num_outputs": 4, "hidden_size": 5} | request.param).double()


@pytest.fixture
def weights(net: GRUNet) -> Arrays:
    return {name: p.detach().numpy().copy() for name, p in net.named_parameters()}


@pytest.fixture
def inputs(net: GRUNet) -> Inputs:
    rng = np.random.default_rng(1)
    states = net.gru.num_layers * (1 + net.gru.bidirectional)
    return rng.normal(size=(3, 6, 3)), rng.normal(size=(states, 3, 5))


def test_every_hidden_state_equals_torch_with_lengths_and_initial_state(
    net: GRUNet, weights: Arrays, inputs: Inputs
) -> None:
    values, h0 = inputs
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.tensor(values), torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
    )
    hidden, last = net.gru(packed, torch.tensor(h0))
    hidden, _ = torch.nn.utils.rnn.pad_packed_sequence(hidden, batch_first=True)
    ours = reference.network_forward(weights, values, LENGTHS, h0)
    top = [array for name, array in ours.hidden.items() if name[1] == str(net.gru.num_layers - 1)]
    np.testing.assert_allclose(np.concatenate(top, -1), hidden.detach(), rtol=0, atol=1e-14)
    np.testing.assert_allclose(list(ours.last.values()), last.detach(), rtol=0, atol=1e-14)


def test_logits_equal_the_network_that_users_run(
    net: GRUNet, weights: Arrays, inputs: Inputs
) -> None:
    values, _ = inputs
    theirs = net(torch.tensor(values), torch.tensor(LENGTHS)).detach()
    ours = reference.network_forward(weights, values, LENGTHS).logits_BC
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)


def test_gradients_equal_finite_differences_of_the_forward_pass(
    weights: Arrays, inputs: Inputs
) -> None:
    values, h0 = inputs
    rng = np.random.default_rng(2)
    out = reference.network_forward(weights, values, LENGTHS, h0)
    pull_logits = rng.normal(size=out.logits_BC.shape)
    pull = {name: rng.normal(size=array.shape) for name, array in out.hidden.items()}
    leaves = {"values": values, "h0": h0, **weights}

    def objective(leaves: Arrays) -> float:
        out = reference.network_forward(leaves, leaves["values"], LENGTHS, leaves["h0"])
        hidden = sum((pull[name] * out.hidden[name]).sum() for name in pull)
        return (pull_logits * out.logits_BC).sum() + hidden

    grads = reference.network_backward(weights, out, pull_logits, pull)
    assert grads.keys() == leaves.keys()
    for name, leaf in leaves.items():
        direction = rng.normal(size=leaf.shape)
        up, down = (objective(leaves | {name: leaf + s * direction}) for s in (1e-6, -1e-6))
        slope = (up - down) / 2e-6
        assert (grads[name] * direction).sum() == pytest.approx(slope, rel=1e-7, abs=1e-8), name


def test_padding_neither_moves_nor_pulls(weights: Arrays, inputs: Inputs) -> None:
    values, h0 = inputs
    clean = reference.network_forward(weights, values, LENGTHS, h0)
    values[1, 1:] = 1e3
    out = reference.network_forward(weights, values, LENGTHS, h0)
    np.testing.assert_array_equal(out.logits_BC, clean.logits_BC)
    grads = reference.network_backward(weights, out, np.ones_like(out.logits_BC))
    assert not grads["values"][1, 1:].any()


@pytest.mark.parametrize("labels_of", [3, 1], ids=["three labels", "binary"])
def test_losses_and_their_gradients_equal_torch(labels_of: int) -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(scale=9, size=(40, labels_of))
    labels = rng.integers(0, max(labels_of, 2), size=40)
    ours = torch.tensor(logits, requires_grad=True)
    if labels_of == 1:
        loss = F.binary_cross_entropy_with_logits(ours[:, 0], torch.tensor(labels).double())
    else:
        loss = F.cross_entropy(ours, torch.tensor(labels))
    loss.backward()
    value, slope = reference.cross_entropy(logits, labels)
    assert value == pytest.approx(loss.item(), rel=1e-14)
    np.testing.assert_allclose(slope, ours.grad, rtol=0, atol=1e-16)


@pytest.mark.parametrize("labels_of", [3, 1], ids=["three labels", "binary"])
def test_clipped_loss_has_the_slope_of_its_value_and_none_where_it_clips(labels_of: int) -> None:
    rng = np.random.default_rng(6)
    p = rng.uniform(0.1, 0.8, size=(5, labels_of))
    p[0, 0] = 1e-12
    labels = np.array([0, 1, 0, 1, 1])
    _, slope = reference.clipped_cross_entropy(p, labels)
    for index in np.ndindex(p.shape):
        step = np.zeros_like(p)
        step[index] = 1e-13 if p[index] < 1e-6 else 1e-6
        up, down = (reference.clipped_cross_entropy(p + s * step, labels)[0] for s in (1, -1))
        assert slope[index] == pytest.approx((up - down) / (2 * step[index]), rel=1e-5, abs=1e-8)
    assert slope[0, 0] == 0.0 or labels_of == 3
    assert reference.clipped_cross_entropy(np.array([[0.0, 1.0]]), np.array([0]))[0] == (
        pytest.approx(-np.log(1e-7))
    )
