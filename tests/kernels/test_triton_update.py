"""The optimisers' rules in Triton against Numba's, which follow Keras' and torch's."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from grulight.errors import InputError
from grulight.kernels.rules import KERAS_ADAM, SUMMED, WAITS, Updates, accumulating, row
from grulight.kernels.steps import Sizes, State, train_steps
from grulight.optim import KerasAdam, KerasRMSprop, KerasSGD
from grulight.training.optimizer_rules import RULES

if find_spec("triton") is None:
    pytest.skip("needs the package triton", allow_module_level=True)

from test_triton import every_device

from grulight.kernels import triton_update
from grulight.kernels.triton_update import FlatState, settings_of

SIZES_OF_GRU = Sizes(5, 16, True)
PARAMETERS = *SIZES_OF_GRU.weights, 3 * 16, 3
COUNT = sum(PARAMETERS)  # more than a program takes
STEPS = 5
# moves nothing, and leaves the gradients in the first moment
PROBE = Updates(KERAS_ADAM, np.array([[row(new=1.0, new_square=1.0, epsilon=1.0)]]))
OPTIMIZERS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "KerasAdam": (KerasAdam, {}),
    "KerasAdam, weight decay, amsgrad": (KerasAdam, {"weight_decay": 0.1, "amsgrad": True}),
    "KerasRMSprop": (KerasRMSprop, {}),
    "KerasRMSprop, all options": (
        KerasRMSprop, {"momentum": 0.5, "centered": True, "weight_decay": 0.1},
    ),
    "KerasSGD": (KerasSGD, {"lr": 0.1}),
    "KerasSGD, momentum": (KerasSGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    "KerasSGD, Nesterov": (KerasSGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "Adam": (Adam, {}),
    "Adam, weight decay, amsgrad": (Adam, {"weight_decay": 0.1, "amsgrad": True}),
    "AdamW": (AdamW, {"weight_decay": 0.3}),
    "RMSprop": (RMSprop, {}),
    "RMSprop, all options": (
        RMSprop, {"momentum": 0.5, "centered": True, "weight_decay": 0.1},
    ),
    "SGD": (SGD, {"lr": 0.1, "weight_decay": 0.1}),
    "SGD, dampened": (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    "SGD, Nesterov": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
}  # fmt: skip
MEANS: dict[str, dict[str, Any]] = {
    "groups": {"groups": np.array([1, -1, 0, 0, 1, -1])},
    "by value": {"value": 0.01},
    "by norm": {"norm": 0.3},
    "by a norm that is not reached": {"norm": 1e4},
    "by norm, one stays": {"norm": 0.3, "groups": np.array([0, -1, 0, 0, 0, 0])},
    "by the norm of each variable": {
        "variables": np.array([1, -1, 0, 0, 2, 2]), "of_variable": 0.1,
    },
    "by all, one stays": {
        "norm": 1.0, "value": 0.05, "variables": np.array([0, 0, 0, 0, 1, 1]), "of_variable": 0.2,
        "groups": np.array([0, 0, 0, -1, 0, 0]),
    },
}  # fmt: skip


def updates_of(name: str, rows_each: int = 1, **options: Any) -> Updates:
    """Return the updates of an optimiser, whose further groups have smaller rates."""
    make, given = OPTIMIZERS[name]
    optimizer = make([torch.nn.Parameter(torch.zeros(1))], **given)
    [group] = optimizer.param_groups
    rule = RULES[make]
    rows = [
        [rule.row(group | {"lr": group["lr"] / (1 + n)}, step + 1, not step, False)
         for n in range(rows_each)]
        for step in range(STEPS)
    ]  # fmt: skip
    return Updates(rule.number, np.array(rows), **options)


class Both:
    """Parameters of a network and their moments, moved by Numba's kernel and by ours."""

    def __init__(self, device: str, moments: int = 4) -> None:
        self.rng = np.random.default_rng(0)
        drawn = self.rng.normal(size=COUNT).astype(np.float32)
        self.theirs = State(drawn, *(np.zeros(COUNT, np.float32) for _ in range(4)))
        slots = (torch.tensor(each, device=device) for each in self.theirs[: 1 + moments])
        self.ours = FlatState(*slots)
        self.gradients = torch.zeros(COUNT, device=device)

    def step(self, updates: Updates, number: int, **options: bool) -> None:
        """Take a step with the gradients that Numba's kernel has in its own."""
        data = self.rng.normal(size=(8, 4, 5)).astype(np.float32), None, np.arange(8) % 3
        given = SIZES_OF_GRU, data, [np.arange(8)]
        probe = State(self.theirs[0].copy(), *(np.zeros(COUNT, np.float32) for _ in range(2)))
        train_steps(probe, 0, PROBE, *given)
        now = updates._replace(rows=updates.rows[number : number + 1])
        train_steps(self.theirs, 0, now, *given)
        settings = settings_of(updates, PARAMETERS, self.gradients.device)
        self.gradients.copy_(torch.from_numpy(probe.exp_avg))
        count = torch.tensor([number], device=self.gradients.device)
        triton_update.update(self.ours, self.gradients, settings, count, **options)

    def assert_close(self, rounding: float = 0.0) -> None:
        for our, their in zip(self.ours, self.theirs, strict=True):
            if our is not None:
                np.testing.assert_allclose(our.cpu(), their, rtol=rounding, atol=rounding / 10)


def after(updates: Updates, device: str, moments: int = 4) -> Both:
    both = Both(device, moments)
    for number in range(len(updates.rows)):
        both.step(updates, number)
    return both


@every_device
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rules_move_parameters_and_moments_to_the_same_bits_as_numbas(
    name: str, device: str
) -> None:
    both = after(updates_of(name), device)
    moving = "SGD" not in name or "momentum" in OPTIMIZERS[name][1]
    assert np.any(both.theirs.exp_avg) == moving
    both.assert_close()


@every_device
@pytest.mark.parametrize("means", MEANS.values(), ids=MEANS.keys())
def test_gradients_are_limited_and_groups_told_apart_as_numbas(
    means: dict[str, Any], device: str
) -> None:
    both = after(updates_of("SGD, Nesterov", rows_each=2, **means), device)
    both.assert_close(1e-6)
    free = after(updates_of("SGD, Nesterov", rows_each=2), device)
    changed = np.abs(both.theirs.parameters - free.theirs.parameters).max()
    assert changed == 0 if means.get("norm") == 1e4 else changed > 1e-3


@every_device
@pytest.mark.parametrize("name", ["", "by norm", "by all, one stays"])
def test_gradients_are_accumulated_as_numbas(name: str, device: str) -> None:
    updates = accumulating(updates_of("KerasAdam", **MEANS.get(name, {})), 2, STEPS)
    assert updates.rows[:, 0, SUMMED].tolist() == [2] * STEPS
    assert updates.rows[:, 0, WAITS].tolist() == [1, 0, 1, 0, 0]
    after(updates, device).assert_close(1e-6)
    waiting = after(updates._replace(rows=updates.rows[:3]), device)
    assert waiting.ours.sums is not None
    assert waiting.ours.sums.any()
    waiting.assert_close(1e-6)


@every_device
@pytest.mark.parametrize(("name", "moments"), [("SGD, Nesterov", 1), ("RMSprop", 1), ("AdamW", 2)])
def test_moments_that_a_rule_does_not_keep_may_be_left_out(
    name: str, moments: int, device: str
) -> None:
    after(updates_of(name), device, moments).assert_close()


@every_device
def test_gradients_are_zero_afterwards_where_that_is_asked_for(device: str) -> None:
    both = Both(device)
    both.step(updates_of("Adam"), 0)
    assert both.gradients.all()
    both.step(updates_of("Adam"), 1, zero_gradients=True)
    assert not both.gradients.any()
    both.assert_close()


@pytest.mark.parametrize(
    ("name", "changed", "missing"),
    [
        ("Adam", {}, "exp_avg_sq"),
        ("RMSprop, all options", {}, "exp_avg_sq"),
        ("Adam, weight decay, amsgrad", {"exp_avg_sq": torch.zeros(COUNT)}, "third"),
    ],
)
def test_moments_that_a_rule_needs_are_asked_for(
    name: str, changed: dict[str, Any], missing: str
) -> None:
    state = FlatState(torch.zeros(COUNT), torch.zeros(COUNT))._replace(**changed)
    settings = settings_of(updates_of(name), PARAMETERS, "cpu")
    step = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(InputError, match=f"{missing} is missing"):
        triton_update.update(state, torch.zeros(COUNT), settings, step)
    summing = settings_of(accumulating(updates_of("SGD"), 2, STEPS), PARAMETERS, "cpu")
    with pytest.raises(InputError, match="sums is missing"):
        triton_update.update(state, torch.zeros(COUNT), summing, step)


def test_what_does_not_fit_is_refused() -> None:
    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape)

    settings = settings_of(updates_of("Adam"), PARAMETERS, "cpu")
    step = torch.zeros(1, dtype=torch.int64)
    n = COUNT
    for state, gradients, changed, said in (
        (FlatState(zeros(n), zeros(3), zeros(n)), zeros(n), settings, r"exp_avg \(3,\)"),
        (FlatState(zeros(n), zeros(n), zeros(n)), zeros(n).double(), settings, "of float32"),
        (FlatState(zeros(n), zeros(n), zeros(2 * n)[::2]), zeros(n), settings, "in one piece"),
        (
            FlatState(zeros(n), zeros(n), zeros(n)), zeros(n),
            settings._replace(rows=zeros(1, 2)), r"\(steps, groups, 13\)",
        ),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            triton_update.update(state, gradients, changed, step)
