from typing import Any

import numpy as np
import pytest
import torch

from grulight.kernels import prediction, threads
from grulight.kernels.prediction import Predictor
from grulight.kernels.steps import Adam, State, train_steps
from grulight.logits import classification_loss, predicted_classes, probabilities
from grulight.model import GRUNet
from grulight.optim import KerasAdam

CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "binary, ragged": {"num_outputs": 1, "ragged": True},
    "no bias, weight decay": {"bias": False, "weight_decay": 0.04},
    "large batches": {"batch": 70, "ragged": True},
    "many units": {"hidden_size": 33},
}


def flat(net: GRUNet) -> np.ndarray:
    return torch.cat([p.detach().ravel() for p in net.parameters()]).numpy().copy()


def data_for(net: GRUNet, ragged: bool, count: int = 160) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    kind = net.head.weight.detach().numpy().dtype
    classes = max(2, net.head.out_features)
    lengths = rng.integers(1, 11, count) if ragged else None
    values = rng.normal(size=(count, 10, 5)).astype(kind)
    return values, lengths, rng.integers(0, classes, count)


def some(lengths: np.ndarray | None, chosen: np.ndarray) -> torch.Tensor | None:
    return None if lengths is None else torch.tensor(lengths[chosen])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_compiled_steps_follow_the_plain_trajectory_for_125_steps(case: dict[str, Any]) -> None:
    case = {"num_outputs": 3, "ragged": False, "weight_decay": 0.0, "batch": 32} | case
    ragged, decay, size = (case.pop(name) for name in ("ragged", "weight_decay", "batch"))
    net = GRUNet(5, kernel="torch", **case).double()
    values, lengths, labels = data_for(net, ragged)
    rng = np.random.default_rng(1)
    orders = [rng.permutation(160) for _ in range(125 * size // 160 + 1)]
    batches = np.array_split(np.concatenate(orders), range(size, 125 * size, size))[:125]
    batches[-1] = batches[-1][:7]  # the last one is often smaller
    state = State(flat(net), *(np.zeros_like(flat(net)) for _ in range(2)))
    optimizer = KerasAdam(net.parameters(), weight_decay=decay)
    theirs, right = [], []
    for chosen in batches:
        logits = net(torch.tensor(values[chosen]), some(lengths, chosen))
        y = torch.tensor(labels[chosen])
        loss = classification_loss(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())
        right.append((predicted_classes(logits) == y).sum().item())
    found = []
    for start, part in ((0, batches[:40]), (40, batches[40:])):
        sizes = (5, net.gru.hidden_size, net.gru.bias)
        data = (values, lengths, labels)
        found.append(train_steps(state, start, Adam(weight_decay=decay), sizes, data, part))
    losses, rights, counts = map(np.concatenate, zip(*found, strict=True))
    np.testing.assert_array_equal(counts, list(map(len, batches)))
    np.testing.assert_allclose(losses, theirs, rtol=1e-12)
    np.testing.assert_array_equal(rights, right)
    np.testing.assert_allclose(state.parameters, flat(net), rtol=0, atol=1e-13)


def test_compiled_steps_take_the_gradients_of_the_module() -> None:
    net = GRUNet(5, 3, kernel="numba")
    data = data_for(net, ragged=True)
    before = [p.detach().clone() for p in net.gru.parameters()]
    chosen = np.arange(70)
    state = State(flat(net), *(np.zeros_like(flat(net)) for _ in range(2)))
    train_steps(state, 0, Adam(betas=(0.0, 0.0)), (5, 16, True), data, [chosen])
    logits = net(torch.tensor(data[0][:70]), some(data[1], chosen))
    classification_loss(logits, torch.tensor(data[2][:70])).backward()
    theirs = torch.cat([p.grad.ravel() for p in net.gru.parameters() if p.grad is not None])
    ours = state.exp_avg[: theirs.numel()]  # with beta1 = 0 the gradient itself
    # the head rounds apart, and the GRU follows it
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(ours).max())
    assert all(torch.equal(a, b) for a, b in zip(before, net.gru.parameters(), strict=True))


def test_compiled_steps_are_the_same_each_time_and_in_any_portions() -> None:
    net = GRUNet(5, 3)
    data = data_for(net, ragged=True)
    batches = np.array_split(np.random.default_rng(2).permutation(160), 5)
    found = []
    for cut in (5, 5, 2):
        state = State(flat(net), *(np.zeros_like(flat(net)) for _ in range(2)))
        for start in range(0, 5, cut):
            part = batches[start : start + cut]
            train_steps(state, start, Adam(), (5, 16, True), data, part)
        found.append(state.parameters)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("outputs", [1, 3], ids=["binary", "three classes"])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
def test_predictions_equal_the_network(outputs: int, ragged: bool, bias: bool) -> None:
    net = GRUNet(5, outputs, kernel="torch", bias=bias).double()
    values, lengths, _ = data_for(net, ragged, 300)
    mean, scale = np.arange(5.0), np.arange(1.0, 6.0)
    ask = Predictor([p.detach().numpy() for p in net.parameters()], mean, scale)
    standard = torch.tensor((values - mean) / scale)
    theirs = probabilities(net(standard, some(lengths, np.arange(300)))).detach()
    np.testing.assert_allclose(ask(values, lengths), theirs, rtol=0, atol=1e-14)
    few = ask(values[7:9], None if lengths is None else lengths[7:9])
    np.testing.assert_array_equal(few, ask(values, lengths)[7:9])
    assert ask(values[:0]).shape == (0, max(2, outputs))


def test_predictions_follow_every_parameter_that_changes_in_place() -> None:
    net = GRUNet(5, 3, kernel="torch").double()
    values, lengths, _ = data_for(net, ragged=True)
    ask = Predictor([p.detach().numpy() for p in net.parameters()])
    before = ask(values, lengths)
    for parameter in net.parameters():
        with torch.no_grad():
            parameter.view(-1)[-1] += 0.5
        after = ask(values, lengths)
        assert np.abs(after - before).max() > 1e-4
        theirs = probabilities(net(torch.tensor(values), torch.tensor(lengths))).detach()
        np.testing.assert_allclose(after, theirs, rtol=0, atol=1e-14)
        before = after


def test_predictions_refuse_what_does_not_fit() -> None:
    net = GRUNet(5, 3)
    ask = Predictor([p.detach().numpy() for p in net.parameters()])
    with pytest.raises(ValueError, match=r"expected \(batch, time, 5\)"):
        ask(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="lengths from 0 to 3: expected 1 to 3"):
        ask(np.zeros((2, 3, 5)), np.array([0, 3]))


@pytest.mark.parametrize("count", [1, 33, 70, 256, 300])
def test_predictions_that_threads_share_have_the_same_bits(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = GRUNet(5, 3, 70, kernel="numba")
    values, lengths, _ = data_for(net, ragged=True, count=count)
    ask = Predictor([p.detach().numpy() for p in net.parameters()])
    alone = ask(values, lengths)
    shares: list[tuple[int, int]] = []

    def noted(work: Any, units: int, multiplications: int) -> None:
        threads.share(lambda *share: [shares.append(share), work(*share)], units, multiplications)

    monkeypatch.setattr(prediction, "LONG", 1)
    monkeypatch.setattr(prediction, "share", noted)
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    torch.set_num_threads(3)
    shared = ask(values, lengths)
    torch.set_num_threads(1)
    assert len(shares) == (0 if count == 1 else min(3, -(-count // 32)))
    np.testing.assert_array_equal(shared, alone)
