"""Compiled steps and predictions for every kind of answer, against the module and its head."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grulight.heads import ClassHead, Head, LabelHead, ValueHead
from grulight.kernels.prediction import Predictor
from grulight.kernels.steps import Adam, State, train_steps
from grulight.model import GRUNet
from grulight.optim import KerasAdam
from grulight.training.compiled_network import task_of

COUNT, TIME = 90, 7
HEADS: dict[str, Head] = {
    "classes": ClassHead(3),
    "classes, smoothed": ClassHead(4, label_smoothing=0.2),
    "two classes, smoothed": ClassHead(1, label_smoothing=0.1),
    "classes per step": ClassHead(3, per_step=True),
    "two classes per step, smoothed": ClassHead(1, per_step=True, label_smoothing=0.3),
    "labels": LabelHead(3),
    "labels per step, smoothed": LabelHead(2, per_step=True, label_smoothing=0.1),
    "a value": ValueHead(1, mean=(500.0,), scale=(10.0,)),
    "values": ValueHead(3),
    "values per step": ValueHead(2, per_step=True, mean=(3.0, -7.0), scale=(2.0, 0.01)),
}


def targets(head: Head, rng: np.random.Generator) -> np.ndarray:
    shape = (COUNT, TIME) if head.per_step else (COUNT,)
    if head.num_classes:
        return rng.integers(0, head.num_classes, shape)
    if isinstance(head, LabelHead):
        return rng.integers(0, 2, (*shape, head.size)).astype(float)
    assert isinstance(head, ValueHead)
    return rng.normal(size=(*shape, head.size)) * (head.scale or 1) + (head.mean or 0)


def case_of(head: Head, ragged: bool) -> tuple[GRUNet, Any]:
    rng = np.random.default_rng(1)
    torch.manual_seed(0)
    net = GRUNet(4, head.size, 6, kernel="torch", per_step=head.per_step).double()
    lengths = rng.integers(1, TIME + 1, COUNT) if ragged else None
    labels = targets(head, rng)
    if ragged and head.per_step:
        labels[np.arange(TIME) >= lengths[:, None]] = -1  # nobody may look there
    return net, (rng.normal(size=(COUNT, TIME, 4)), lengths, labels)


def scored(net: GRUNet, head: Head, data: Any, chosen: np.ndarray) -> Any:
    values, lengths, labels = data
    lens = None if lengths is None else torch.tensor(lengths[chosen])
    answers, valid = net.answers(torch.tensor(values[chosen]), lens)
    return head.score(answers, torch.tensor(labels[chosen]), valid)


def flat(net: GRUNet) -> np.ndarray:
    return torch.cat([p.detach().ravel() for p in net.parameters()]).numpy().copy()


def state_of(net: GRUNet) -> State:
    return State(flat(net), *(np.zeros_like(flat(net)) for _ in range(2)))


def scaled(head: Head, labels: np.ndarray) -> np.ndarray:
    if not isinstance(head, ValueHead):
        return labels
    return head.scaled(torch.tensor(labels), torch.float64).numpy()


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_compiled_steps_follow_the_plain_trajectory(head: Head, ragged: bool) -> None:
    net, data = case_of(head, ragged)
    rng = np.random.default_rng(2)
    batches = [rng.permutation(COUNT)[:size] for size in (33, 32, 1, 90, 5) * 4]
    state = state_of(net)
    optimizer, theirs = KerasAdam(net.parameters(), lr=0.01), []
    for chosen in batches:
        score = scored(net, head, data, chosen)
        optimizer.zero_grad()
        score.loss.backward()
        optimizer.step()
        theirs.append((score.loss.item(), float(score.metric), score.counted))
    task = task_of(head)
    assert task is not None
    given = (*data[:2], scaled(head, data[2]))
    ours = train_steps(state, 0, Adam(lr=0.01), (4, 6, True), given, batches, task)
    np.testing.assert_allclose(np.stack(ours, 1), theirs, rtol=1e-11)
    np.testing.assert_allclose(state.parameters, flat(net), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["classes", "two classes per step, smoothed", "values per step"])
def test_weights_multiply_the_losses_and_not_what_divides_them(name: str) -> None:
    head = HEADS[name]
    net, data = case_of(head, ragged=True)
    shape = (COUNT, TIME) if head.per_step else (COUNT,)
    weights = np.random.default_rng(3).uniform(0, 3, shape)
    chosen, state = np.arange(40), state_of(net)
    task = task_of(head)
    assert task is not None
    given = (*data[:2], scaled(head, data[2]))
    task = task._replace(weights=weights)
    steps = (state, 0, Adam(betas=(0.0, 0.0)), (4, 6, True), given, [chosen], task)
    [loss], [metric], [count] = train_steps(*steps)
    theirs = weighted_loss(net, head, data, weights, chosen)
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), rel=1e-12)
    unweighted = scored(net, head, data, chosen)
    assert (metric, count) == pytest.approx((float(unweighted.metric), unweighted.counted))
    gradients = torch.cat([p.grad.ravel() for p in net.parameters() if p.grad is not None])
    np.testing.assert_allclose(state.exp_avg, gradients, rtol=1e-9, atol=1e-14)


def weighted_loss(
    net: GRUNet, head: Head, data: Any, weights: np.ndarray, chosen: np.ndarray
) -> Tensor:
    answers, valid = net.answers(torch.tensor(data[0][chosen]), torch.tensor(data[1][chosen]))
    where = torch.ones(len(chosen), dtype=torch.bool) if valid is None else valid
    rows, labels = answers[where], torch.tensor(data[2][chosen])[where]
    each = [head.loss(rows[n : n + 1], labels[n : n + 1]) for n in range(len(rows))]
    return (torch.stack(each) * torch.tensor(weights[chosen])[where]).sum() / len(rows)


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_predictions_equal_those_of_the_head(head: Head, ragged: bool) -> None:
    net, (values, lengths, _) = case_of(head, ragged)
    lens = None if lengths is None else torch.tensor(lengths)
    answers, valid = net.answers(torch.tensor(values), lens)
    theirs = head.prediction(answers).detach().numpy()
    units = None
    if isinstance(head, ValueHead) and head.scale:
        units = np.array(head.mean), np.array(head.scale)
    task = task_of(head)
    assert task is not None
    ask = Predictor(
        [p.detach().numpy() for p in net.parameters()],
        answer=task.answer, per_step=head.per_step, units=units,
    )  # fmt: skip
    ours = ask(values, lengths)
    assert ours.shape == theirs.shape
    counted = slice(None) if valid is None else valid.numpy()
    np.testing.assert_allclose(ours[counted], theirs[counted], rtol=1e-13, atol=1e-14)
    few = ask(values[7:9], None if lengths is None else lengths[7:9])
    np.testing.assert_array_equal(few, ours[7:9])
    # more than are predicted in one go
    many = np.tile(values, (12, 1, 1)), None if lengths is None else np.tile(lengths, 12)
    np.testing.assert_array_equal(ask(*many), np.concatenate([ours] * 12))


@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("classes per step", np.zeros(COUNT, int), r"labels \(90,\): expected \(90, 7, …\)"),
        ("classes per step", np.full((COUNT, TIME), 3), "labels from 3 to 3: expected 0 to 2"),
        ("labels", np.zeros((COUNT, 2)), r"labels \(90, 2\): expected \(90, 3\)"),
        ("values per step", np.zeros((COUNT, TIME - 1, 2)), r"expected \(90, 7, …\)"),
        ("values", np.full((COUNT, 3), "a"), "labels hold <U1, expected numbers"),
    ],
)
def test_targets_that_do_not_fit_are_refused(name: str, labels: np.ndarray, said: str) -> None:
    head = HEADS[name]
    net, data = case_of(head, ragged=False)
    task, state = task_of(head), state_of(net)
    assert task is not None
    batches = [np.arange(COUNT)]
    with pytest.raises(ValueError, match=said):
        train_steps(state, 0, Adam(), (4, 6, True), (*data[:2], labels), batches, task)


def test_weights_that_do_not_fit_are_refused() -> None:
    net, data = case_of(HEADS["classes"], ragged=False)
    task = task_of(HEADS["classes"])
    assert task is not None
    task = task._replace(weights=np.ones(COUNT - 1))
    with pytest.raises(ValueError, match=r"weights \(89,\): expected \(90,\)"):
        train_steps(state_of(net), 0, Adam(), (4, 6, True), data, [np.arange(9)], task)


def test_other_errors_of_values_are_not_compiled() -> None:
    assert task_of(replace(HEADS["values"], error="mean_absolute_error")) is None  # type: ignore[call-arg]
