"""Whole trainings in Triton, one program each, against the compiled steps on the CPU."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grulight.errors import InputError
from grulight.kernels.rules import Adam, accumulating, keras_adam
from grulight.kernels.steps import Noise, Sizes, State, Task, train_steps

if find_spec("triton") is None:
    pytest.skip("needs the package triton", allow_module_level=True)

from test_triton import every_device, on
from test_triton_update import OPTIMIZERS, updates_of

from grulight.kernels import triton_training
from grulight.kernels.triton_update import FlatState

pytestmark = pytest.mark.filterwarnings("ignore:cumsum_cuda_kernel does not have")  # of integers

COMPILING = Path(__file__).with_name("compiling_training.py")
TWO = {"batches": (8, 3)}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "ragged": {"ragged": True},
    "more than a tile, the last one smaller": {"batches": (40, 33), "time": 2, "ragged": True},
    "as many features as a product sums over": {"inputs": 16, **TWO},
    "a batch of one sequence": {"batches": (1, 4), "time": 1},
    "odd units and features, no biases": {"hidden": 33, "inputs": 20, "biases": False, **TWO},
    "two classes, smoothed": {"outputs": 1, "smoothing": 0.1, **TWO},
    "classes, smoothed and weighted": {"smoothing": 0.2, "weighted": True, "ragged": True, **TWO},
    "classes of each step": {"per_step": True, "ragged": True, **TWO},
    "labels, smoothed": {"answer": "labels", "smoothing": 0.1, **TWO},
    "labels of each step, weighted": {
        "answer": "labels", "outputs": 2, "per_step": True, "weighted": True, "ragged": True, **TWO,
    },
    "values in units": {"answer": "values", "outputs": 2, **TWO},
    "values of each step, dropout": {
        "answer": "values", "outputs": 2, "per_step": True, "dropout": True, "ragged": True, **TWO,
    },
    "classes, dropout": {"dropout": True, **TWO},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _poison() -> Iterator[None]:
    """Fill what is allocated with NaN: what nobody wrote must not be read."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


class Case:
    """Networks with data, trained by the compiled steps on the CPU and by ours."""

    def __init__(
        self,
        hidden: int = 16,
        inputs: int = 5,
        outputs: int = 3,
        biases: bool = True,
        batches: tuple[int, ...] = (8, 8, 3),
        time: int = 4,
        models: int = 1,
        ragged: bool = False,
        weighted: bool = False,
        dropout: bool = False,
        **task: Any,
    ) -> None:
        rng, count = np.random.default_rng(0), 50
        self.sizes, self.outputs, self.batches = Sizes(inputs, hidden, biases), outputs, batches
        self.parts = [*self.sizes.weights, outputs * hidden, outputs]
        self.first = rng.normal(size=(models, sum(self.parts))).astype(np.float32) / 2
        lengths = rng.integers(1, time + 1, count) if ragged else None
        self.lens = np.full(count, time) if lengths is None else lengths
        past = np.arange(time) >= self.lens[:, None]
        values = rng.normal(size=(count, time, inputs)).astype(np.float32)
        values[past] = np.nan  # what lies past the end must count for nothing
        answer, per_step = task.get("answer", "classes"), task.get("per_step", False)
        shape = (count, time) if per_step else (count,)
        labels = rng.integers(0, max(2, outputs), shape)
        if answer != "classes":
            labels = rng.normal(size=(*shape, outputs)).astype(np.float32)
            labels = labels if answer == "values" else (labels > 0).astype(np.float32)
        if per_step:
            labels[past] = -1
        weights = rng.uniform(0, 3, shape).astype(np.float32) if weighted else None
        scale = np.linspace(1, 3, outputs) if answer == "values" else None
        self.data = values, lengths, labels
        self.on_host = not ragged  # the order; else on the device
        self.task = Task(**task, weights=weights, scale=scale)
        self.order = np.stack([rng.permutation(count)[: sum(batches)] for _ in range(models)])
        if sum(batches) > count:
            self.order = rng.integers(0, count, (models, sum(batches)))
        self.updates = [
            keras_adam(Adam(lr=0.01 * (1 + n)), 0, len(batches), double=False)
            for n in range(models)
        ]
        self.noise = [self._noise(each, rng) for each in self.order] if dropout else None

    def _noise(self, order: np.ndarray, rng: np.random.Generator) -> Noise:
        batches = np.split(order, np.cumsum(self.batches)[:-1])
        longest = [self.lens[each].max() if self.task.per_step else 1 for each in batches]
        count = int(np.dot(self.batches, longest)) * self.sizes.hidden
        return Noise((rng.random(count) < 0.7).astype(np.float32) / np.float32(0.7), False, True)

    def theirs(self, model: int = 0) -> tuple[State, Any]:
        """Return what the CPU's compiled steps make of a network, and the sums of each batch."""
        zeros = (np.zeros(self.first.shape[1], np.float32) for _ in range(4))
        state = State(self.first[model].copy(), *zeros)
        batches = np.split(self.order[model], np.cumsum(self.batches)[:-1])
        noise = self.noise and self.noise[model]
        given = self.sizes, self.data, batches, self.task, noise
        return state, train_steps(state, 0, self.updates[model], *given)

    def state(self, device: str, models: slice = slice(None)) -> FlatState:
        first = torch.tensor(self.first[models], device=device)
        return FlatState(first, *(torch.zeros_like(first) for _ in range(4)))

    def train(
        self, state: FlatState, models: slice = slice(None), steps: slice = slice(None)
    ) -> tuple[Tensor, ...]:
        """Train networks for some of the steps; return the sums of each batch."""
        device = state.parameters.device
        starts, there = np.cumsum([0, *self.batches]), torch.from_numpy(self.order).to(device)
        rows = slice(starts[steps.start or 0], starts[steps.stop or len(self.batches)])
        return triton_training.train_steps(
            state,
            [each._replace(rows=each.rows[steps]) for each in self.updates[models]],
            self.sizes,
            triton_training.on_device(self.data, self.outputs, self.task, device),
            self.order[models, rows] if self.on_host else there[models, rows],
            self.batches[steps],
            self.noise and self.noise[models],
        )

    def assert_as_theirs(self, device: str, within: float = 1e-5) -> None:
        ours = self.state(device)
        within *= 10 if device == "cuda" else 1  # whose exponentials are rounded less well
        sums = self.train(ours)
        for model in range(len(self.first)):
            state, (losses, metrics, counts) = self.theirs(model)
            found = [each[model].cpu().numpy() for each in sums]
            np.testing.assert_allclose(found[0], losses, rtol=within / 10)
            np.testing.assert_allclose(found[1], metrics, rtol=within / 10)
            np.testing.assert_array_equal(found[2], counts)
            for our, their in zip(ours, state, strict=True):
                assert our is not None
                assert their is not None
                reach = within * np.abs(their).max()
                np.testing.assert_allclose(our[model].cpu(), their, rtol=0, atol=reach)
            assert np.abs(state.parameters - self.first[model]).max() > 1e-3


@every_device
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_programs_train_as_the_compiled_steps(case: dict[str, Any], device: str) -> None:
    Case(**case).assert_as_theirs(device)


@every_device
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_trains_as_in_the_compiled_steps(name: str, device: str) -> None:
    case = Case(hidden=3, batches=(4, 4), time=2)
    updates = updates_of(name)
    case.updates = [updates._replace(rows=updates.rows[:2])]
    case.assert_as_theirs(device, within=1e-4)  # first steps divide by roots of small squares


LIMITS: dict[str, dict[str, Any]] = {
    "by norm": {"norm": 0.1},
    "by the norm of each variable": {
        "variables": np.array([1, -1, 0, 0, 2, 2]), "of_variable": 0.05,
    },
    "by all, in groups": {
        "norm": 0.5, "value": 0.05, "of_variable": 0.1,
        "variables": np.array([0, 0, 0, 0, 1, 1]), "groups": np.array([0, 0, 1, -1, 1, 0]),
    },
}  # fmt: skip


@every_device
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
def test_gradients_are_limited_and_accumulated_as_in_the_compiled_steps(
    limits: dict[str, Any], device: str
) -> None:
    case = Case(hidden=3, batches=(4, 4, 4), time=2)
    updates = updates_of("KerasSGD, momentum", rows_each=2, **limits)
    case.updates = [accumulating(updates, 2, 3)]
    case.assert_as_theirs(device)
    limited, _ = case.theirs()
    free = {"norm": 0.0, "value": 0.0, "of_variable": 0.0}
    case.updates = [case.updates[0]._replace(**free)]
    assert np.abs(limited.parameters - case.theirs()[0].parameters).max() > 1e-3


@every_device
def test_networks_side_by_side_have_the_bits_that_each_has_alone(device: str) -> None:
    case = Case(models=3, time=3, batches=(8, 3), ragged=True, dropout=True)
    case.updates[1] = case.updates[1]._replace(norm=0.1)  # the others are not limited
    case.assert_as_theirs(device)
    together = case.state(device)
    sums = case.train(together)
    for model in range(3):
        one = slice(model, model + 1)
        alone = case.state(device, one)
        for ours, theirs in zip(case.train(alone, one), sums, strict=True):
            assert torch.equal(ours, theirs[one])
        for ours, theirs in zip(alone, together, strict=True):
            assert ours is not None
            assert theirs is not None
            assert torch.equal(ours, theirs[one])


@every_device
def test_steps_are_the_same_in_any_portions(device: str) -> None:
    case = Case(time=3, batches=(8, 8, 3), ragged=True)
    whole, parts = case.state(device), case.state(device)
    sums = case.train(whole)
    found = [case.train(parts, steps=steps) for steps in (slice(0, 1), slice(1, 3))]
    for ours, theirs in zip(zip(*found, strict=True), sums, strict=True):
        assert torch.equal(torch.cat(ours, 1), theirs)
    for once, in_parts in zip(whole, parts, strict=True):
        assert once is not None
        assert in_parts is not None
        assert torch.equal(once, in_parts)


@pytest.mark.slow
@every_device
def test_the_default_training_stays_beside_the_compiled_steps_for_an_epoch(device: str) -> None:
    Case(batches=(32,) * 25, time=10).assert_as_theirs(device, within=1e-4)


def refused(case: Case, said: str, **changed: Any) -> None:
    data = triton_training.on_device(case.data, case.outputs, case.task, "cpu")
    given: dict[str, Any] = {
        "state": case.state("cpu"), "updates": case.updates, "sizes": case.sizes, "data": data,
        "order": case.order, "batches": case.batches,
    }  # fmt: skip
    with pytest.raises(InputError, match=said):
        triton_training.train_steps(**given | changed)


def test_what_does_not_fit_is_refused() -> None:
    case = Case()
    [adam] = case.updates
    state, order = case.state("cpu"), case.order
    sgd = updates_of("SGD")
    short = FlatState(state.parameters[:, 1:], *state[1:])
    refused(case, r"parameters \(1, 1154\): expected \(1, 1155\) for 1 networks", state=short)
    refused(case, "exp_avg_sq is missing", state=state._replace(exp_avg_sq=None))
    wide = FlatState(*(each.double() for each in state if each is not None))
    refused(case, "values is torch.float32 on cpu, expected torch.float64", state=wide)
    features = case.first.shape[1] - 3 * 16  # those of networks that read one less
    fewer = FlatState(*(each[:, :features].contiguous() for each in state if each is not None))
    refused(case, "5 features: expected 4", state=fewer, sizes=Sizes(4, 16, True))
    refused(case, "order from 0 to 50: expected 0 to 49", order=np.arange(19)[None] % 2 * 50)
    refused(case, r"order \(1, 18\): expected \(models, 19\)", order=order[:, 1:])
    there = torch.from_numpy(order)
    refused(case, "order is torch.int32 on cpu, expected int64", order=there.int())
    refused(case, "a sequence in each", batches=(8, 11, 0))
    refused(case, "2 updates: expected one for each of 1 networks", updates=[adam, adam])
    refused(case, r"rows \(5, 1, 13\): expected \(3, 1, 13\)", updates=[sgd])
    both = Case(models=2)
    other = sgd._replace(rows=sgd.rows[:3])
    refused(both, "expected one rule", updates=[adam, other])
    between = [Noise(np.empty(0), True, False)]
    refused(case, "none elsewhere", noise=between)


def test_data_that_does_not_fit_is_refused() -> None:
    case = Case(ragged=True)
    values, lengths, labels = case.data
    for data, said in (
        ((values, lengths + 4, labels), "lengths from 5 to 8: expected 1 to 4"),
        ((values, lengths, labels + 1), "labels from 1 to 3: expected 0 to 2"),
        ((values[0], lengths, labels), "expected"),
    ):
        with pytest.raises(InputError, match=said):
            triton_training.on_device(data, 3, case.task, "cpu")


def test_networks_that_do_not_fit_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    obstacle = triton_training.obstacle.__wrapped__  # the cache knows no other GPU
    device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_properties", on("H100", 9, 227))
    assert obstacle(Sizes(5, 64, True), 3, device) is None
    assert "one layer in one direction" in obstacle(Sizes(5, 16, True, 2), 3, device)
    assert "one layer in one direction" in obstacle(Sizes(5, 16, True, 1, 2), 3, device)
    assert "at most 64 units, and there are 65" in obstacle(Sizes(5, 65, True), 3, device)
    assert "at most 63 features" in obstacle(Sizes(64, 16, True), 3, device)
    assert "at most 64 numbers of an answer" in obstacle(Sizes(5, 16, True), 65, device)
    monkeypatch.setattr(torch.cuda, "get_device_properties", on("T4", 7, 64))
    assert "T4 has 7.0" in obstacle(Sizes(5, 16, True), 3, device)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["all"]], ids=["default", "all options"])
@pytest.mark.parametrize("size", [(5, 16, 3), (63, 16, 64), (63, 32, 64), (63, 64, 64)], ids=str)
def test_programs_take_no_more_shared_memory_than_they_say(
    size: tuple[int, int, int], options: list[str]
) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, COMPILING, *map(str, size), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    taken = {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", done.stdout)}
    assert taken["shared"] <= triton_training.SHARED[triton_training._padded(size[1])]
    if size == (5, 16, 3):  # the default run's; more features are more than registers hold
        assert not taken["spilled"]
