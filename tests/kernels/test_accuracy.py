from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from grulight.kernels import numba_gates
from grulight.model import GRUNet

CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "one sequence": {"batch": 1},
    "one step": {"time": 1},
    "long sequences": {"time": 400, "batch": 8},
    "large batch": {"batch": 800},
    "many units": {"hidden_size": 96, "batch": 16},
    "saturated": {"reach": 30.0},
    "tiny": {"reach": 0.01},
    "two layers, two ways": {"num_layers": 2, "bidirectional": True},
}


def errors(net: GRUNet, exact: GRUNet, values: Tensor) -> np.ndarray:
    """Return the norm of the error of all states and of each derivative."""
    found = []
    for each in (net, exact):
        leaf = values.to(each.head.weight.dtype).requires_grad_()
        out, last = each.gru(leaf)
        torch.manual_seed(1)
        pull = (torch.randn(array.shape) for array in (out, last))
        objective = sum((a * p).sum() for a, p in zip((out, last), pull, strict=True))
        assert isinstance(objective, Tensor)
        found.append([out, *torch.autograd.grad(objective, [leaf, *each.gru.parameters()])])
    return np.array([(a.double() - b).norm().item() for a, b in zip(*found, strict=True)])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_float32_errs_at_most_twice_as_much_as_torch(case: dict[str, Any]) -> None:
    case = {"batch": 32, "time": 10, "reach": 1.0} | case
    batch, time, reach = (case.pop(name) for name in ("batch", "time", "reach"))
    ours, theirs = (GRUNet(5, 3, kernel=kernel, **case) for kernel in ("numba", "torch"))
    exact = GRUNet(5, 3, kernel="torch", **case).double()
    totals = np.zeros((2, 2 + len(list(ours.gru.parameters()))))
    for seed in range(3):
        torch.manual_seed(seed)
        fresh = GRUNet(5, 3, **case).state_dict()
        values = torch.randn(batch, time, 5) * reach
        for net in (ours, theirs, exact):
            net.load_state_dict(fresh)
        totals += [errors(net, exact, values) for net in (ours, theirs)]
    assert (totals[0] <= 2 * totals[1]).all()


@njit
def apply(function: Any, x: Any) -> Any:
    found = np.empty_like(x)
    for i in range(x.size):
        found[i] = function(x[i])
    return found


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_gates_err_by_three_units_in_the_last_place_at_most(kind: type[np.floating]) -> None:
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.uniform(-9, 1.2, 20_000)
    x = (size * rng.choice([-1, 1], 20_000)).astype(kind)
    wide = x.astype(np.longdouble)
    right = {"tanh": np.tanh(wide), "sigmoid": 1 / (1 + np.exp(-wide))}
    for name, exact in right.items():
        found = apply(getattr(numba_gates, name), x)
        assert (np.abs(found - exact) <= 3 * np.spacing(np.abs(exact).astype(kind))).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_gates_saturate_and_pass_on_what_is_no_number(kind: type[np.floating]) -> None:
    x = np.array([0.0, -0.0, 1e4, -1e4, np.inf, -np.inf, np.nan], kind)
    tanh, sigmoid = (apply(getattr(numba_gates, name), x) for name in ("tanh", "sigmoid"))
    np.testing.assert_array_equal(tanh, np.array([0, -0.0, 1, -1, 1, -1, np.nan], kind))
    assert np.signbit(tanh[1])
    np.testing.assert_allclose(sigmoid, [0.5, 0.5, 1, 0, 1, 0, np.nan], rtol=0, atol=1e-30)
