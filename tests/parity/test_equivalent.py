import numpy as np
import pytest
import torch

from grulight.keras_files.layers.layout import network_to_torch
from grulight.model import GRUNet
from parity import assert_equivalent
from parity.sides.keras_side import keras

INPUTS = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)


@pytest.fixture
def theirs() -> object:
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4), keras.layers.Dense(2)])
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.fixture
def ours(theirs: object) -> GRUNet:
    names = [f"gru_0/forward/{n}" for n in ("kernel", "recurrent_kernel", "bias")]
    names += ["dense/kernel", "dense/bias"]
    weights = network_to_torch(dict(zip(names, theirs.get_weights(), strict=True)))
    net = GRUNet(3, 2, 4, dropout=0.5)
    net.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return net.train()


def test_a_right_port_passes_and_is_left_as_it_was(ours: GRUNet, theirs: object) -> None:
    before = [w.copy() for w in theirs.get_weights()]
    assert_equivalent(ours, theirs, INPUTS)
    assert ours.training
    for kept, weight in zip(before, theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)


def test_callables_of_arrays_pass_too(ours: GRUNet, theirs: object) -> None:
    net = ours.eval()
    assert_equivalent(lambda x: net(torch.tensor(x)), theirs, INPUTS)


def test_a_wrong_port_fails_with_the_evidence(ours: GRUNet, theirs: object) -> None:
    with torch.no_grad():
        ours.gru.bias_hh_l0[0] += 0.01
    with pytest.raises(AssertionError, match=r"output\.0 at index .*noise floors of"):
        assert_equivalent(ours, theirs, INPUTS)


def test_float64_is_held_to_its_own_bound() -> None:
    values = np.linspace(1, 2, 5)
    assert_equivalent(np.exp, lambda x: np.exp(x) * (1 + 1e-15), values)
    with pytest.raises(AssertionError, match=r"allowed 1\.0e-12"):
        assert_equivalent(np.exp, lambda x: np.exp(x) * (1 + 1e-10), values)
