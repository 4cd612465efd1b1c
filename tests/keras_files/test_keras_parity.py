"""Ported models compute what Keras computes: outputs and gradients in float64."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import theirs
import torch
from casekit import Case
from cases import CASES, NEW_ACTIVATIONS
from numpy.typing import NDArray
from torch import Tensor

from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel

# Rounding of the same sums in another order gives 1e-15 to 1e-13 (T up to 200); the smallest
# wrong port in KERAS_FACTS section 5 gives 2e-2.
BOUND = 1e-12

# Keras 3 takes the model's own mode, whatever the call says: random here.
NOT_IN_KERAS_3 = ("layers called as in inference",)
KERAS_3_CASES = [case for case in CASES if case.name not in NOT_IN_KERAS_3]
# What Keras 2 cannot build or save.
NOT_IN_KERAS_2 = (
    *(f"activation {name}" for name in NEW_ACTIVATIONS),
    *("activation hard_tanh", "masked beside unmasked", "first feature"),
    *("normalised in groups masked", "normalised by root mean squares", "features before rows"),
)
KERAS_2_CASES = [case for case in CASES if case.name not in NOT_IN_KERAS_2]
KERAS_2_QUICK = (
    "gru reset before every step masked",
    "bidirectional concat every step masked",
    "state in and out masked backwards",
    "mask given by name",
    "masks merged",
    "masked batch normalisation in training",
    "models in a model",
    "bidirectional lstm and simple rnn",
    "stacked cells",
    "parts of tensors",
    "arithmetic of tensors",
    "layers called as in inference",
    "layers called as in training",
)


def ours(model: PortedModel, case: Case, seed: int) -> dict[str, NDArray[Any]]:
    """Return outputs and gradients under the names that ``theirs.computed`` uses."""
    model.double().train(case.training)
    tensors = {name: torch.from_numpy(array) for name, array in case.inputs().items()}
    for tensor in tensors.values():
        tensor.requires_grad_(tensor.is_floating_point())
    outputs = model(*tensors.values())
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    rng = np.random.default_rng(seed)
    sum((y * torch.from_numpy(rng.normal(size=y.shape))).sum() for y in outputs).backward()
    held = {f"output {at}": y.detach().numpy() for at, y in enumerate(outputs)}
    for name, tensor in tensors.items():
        if tensor.requires_grad:
            held[f"input {name}"] = gradient(tensor).numpy()
    tree = flat(model.keras_arrays(gradient), "weight ")
    return held | {name: array for name, array in tree.items() if "/moving_" not in name}


def gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def flat(tree: Any, prefix: str = "") -> dict[str, NDArray[Any]]:
    found = {}
    for name, held in tree.items():
        if hasattr(held, "items"):
            found |= flat(held, f"{prefix}{name}/")
        else:
            found[prefix + name] = held
    return found


def largest_error(ours: dict[str, NDArray[Any]], theirs: dict[str, NDArray[Any]]) -> float:
    """Return the largest relative difference; what is missing or not a number is infinite."""
    assert ours.keys() == theirs.keys()
    worst = 0.0
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        error = np.abs(ours[name] - expected).max() / max(np.abs(expected).max(), 1e-300)
        worst = max(worst, float(np.nan_to_num(error, nan=np.inf)))
    return worst


def marked(cases: list[Case], quick: Callable[[Case], bool]) -> list[Any]:
    """Return all cases, those that are not quick marked as slow."""
    marks = {True: (), False: (pytest.mark.slow,)}
    return [pytest.param(case, id=case.name, marks=marks[quick(case)]) for case in cases]


@pytest.mark.parametrize("case", marked(KERAS_3_CASES, lambda case: case.quick))
def test_outputs_and_gradients_match_keras_3(case: Case, tmp_path: Path) -> None:
    check(case, theirs.KERAS_3, tmp_path)


@pytest.mark.parametrize("case", marked(KERAS_2_CASES, lambda case: case.name in KERAS_2_QUICK))
def test_outputs_and_gradients_match_keras_2(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("tf_keras", reason="Keras 2 is not installed", exc_type=ImportError)
    check(case, theirs.keras_2(), tmp_path)


def check(case: Case, flavour: theirs.Flavour, folder: Path) -> None:
    """Port every file that Keras writes of the model, and compare with what Keras computes."""
    model = theirs.built(case.build, 5, flavour)
    files = theirs.saved(model, folder)
    double = theirs.in_float64(case.build, model, flavour)
    expected = theirs.computed(double, case.inputs(), 9, case.training)
    both_of = {"h5": dict(expected), "keras": dict(expected)}
    ported = {end: load_keras(path, config=config) for end, (path, config) in files.items()}
    state = ported["keras"].state_dict()
    for end, other in ported.items():
        assert other.state_dict().keys() == state.keys(), end
        assert all(torch.equal(other.state_dict()[name], state[name]) for name in state), end
    for end in ("h5", "keras"):
        found = ours(ported[end], case, 9)
        zeros = [held.pop(name) for name in case.zeros for held in (found, both_of[end])]
        assert all(np.abs(each).max() < BOUND for each in zeros)
        assert largest_error(found, both_of[end]) <= BOUND


def swapped(gates: tuple[int, int, int]) -> Callable[[Tensor], Tensor]:
    return lambda tensor: torch.cat([tensor.chunk(3)[gate] for gate in gates])


FAULTS: dict[str, tuple[tuple[str, ...], Callable[[Tensor], Tensor]]] = {
    "z and r swapped": (("weight_ih", "weight_hh", "bias_ih", "bias_hh"), swapped((1, 0, 2))),
    "kernel rolled": (("weight_ih",), swapped((1, 2, 0))),
    "recurrent blocks transposed": (
        ("weight_hh",),
        lambda tensor: torch.cat([block.T for block in tensor.chunk(3)]),
    ),
    "recurrent bias left out": (("bias_hh",), torch.zeros_like),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_port_is_noticed(fault: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "gru standard every step masked")
    model = theirs.built(case.build, 5)
    path, _ = theirs.saved(model, tmp_path)["keras"]
    expected = theirs.computed(theirs.in_float64(case.build, model), case.inputs(), 9)
    ported = load_keras(path)
    names, change = FAULTS[fault]
    with torch.no_grad():
        for name, held in ported.named_parameters():
            if name.endswith(tuple(f"{each}_l0" for each in names)):
                held.copy_(change(held.clone()))
    assert largest_error(ours(ported, case, 9), expected) > 1e-3
