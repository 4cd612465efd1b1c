import numpy as np
import pytest
import torch

from grulight.keras_files.layers.layout import network_to_torch
from grulight.model import GRUNet
from parity import assert_equivalent
from parity.compare import Incomparable
from parity.sides.keras_setup import keras

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


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_what_is_no_number_fails_in_float32(theirs: object, spoil: float) -> None:
    def ours(x: np.ndarray) -> np.ndarray:
        return np.full((len(x), 2), spoil, np.float32)

    with pytest.raises(AssertionError, match=r"ours (nan|inf)"):
        assert_equivalent(ours, theirs, INPUTS)
    with pytest.raises(AssertionError, match=r"theirs (nan|inf)"):
        assert_equivalent(lambda x: x[:, 0, :2], lambda x: x[:, 0, :2] * spoil, INPUTS)
    with pytest.raises(AssertionError):  # where neither has a number, they are not shown equal
        assert_equivalent(ours, ours, INPUTS)


def test_what_is_random_is_not_compared(ours: GRUNet, theirs: object) -> None:
    rng = np.random.default_rng(3)

    def noise(x: np.ndarray) -> np.ndarray:
        return rng.normal(size=(len(x), 2)).astype(np.float32)

    class Always(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = ours

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(self.net(x), 0.5, training=True)

    for random in (noise, Always()):
        with pytest.raises(AssertionError, match=r"ours gives other bits of output\.0 the second"):
            assert_equivalent(random, theirs, INPUTS)
    with pytest.raises(AssertionError, match="theirs gives other bits"):
        assert_equivalent(ours, noise, INPUTS)


def test_noise_with_a_seed_is_different(theirs: object) -> None:
    def seeded(x: np.ndarray) -> np.ndarray:
        return np.random.default_rng(abs(int(x.sum() * 1e6))).normal(size=(len(x), 2)).astype("f4")

    with pytest.raises(AssertionError, match="not the same function"):
        assert_equivalent(seeded, theirs, INPUTS)


def test_ours_cannot_change_what_theirs_is_asked() -> None:
    def zeroing(x: np.ndarray) -> np.ndarray:
        x[:] = 0
        return x

    with pytest.raises(AssertionError, match="not the same function"):
        assert_equivalent(zeroing, np.tanh, INPUTS.astype("f8"))


def test_one_buffer_for_all_answers_does_not_hide_that_they_change(theirs: object) -> None:
    held, rng = np.zeros((4, 2), np.float32), np.random.default_rng(0)

    def same_memory(x: np.ndarray) -> np.ndarray:
        held[:] = rng.normal(size=held.shape)
        return held

    with pytest.raises(AssertionError, match="other bits"):
        assert_equivalent(same_memory, theirs, INPUTS)


@pytest.mark.parametrize(
    "ours", [lambda x: [], lambda x: {}, lambda x: x[:0], lambda x: x[:1], lambda x: x.sum()]
)
def test_nothing_and_what_would_broadcast_are_not_compared(ours: object) -> None:
    with pytest.raises(Incomparable):
        assert_equivalent(ours, lambda x: x, INPUTS)
    with pytest.raises(Incomparable):
        assert_equivalent(ours, lambda x: {}, INPUTS)
