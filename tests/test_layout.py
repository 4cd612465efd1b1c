import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from grulight.keras_files.layers import layout


def numbered(*shape: int) -> np.ndarray:
    return np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)


def keras_layer(inputs: int, units: int, dtype: str) -> layout.Arrays:
    """Random bits as floats: NaNs, infinities and subnormals must survive the way, too."""
    rng = np.random.default_rng(inputs * 100 + units)
    shapes = {
        "kernel": (inputs, 3 * units),
        "recurrent_kernel": (units, 3 * units),
        "bias": (2, 3 * units),
    }
    return {
        name: np.frombuffer(rng.bytes(np.prod(shape) * np.dtype(dtype).itemsize), dtype).reshape(
            shape
        )
        for name, shape in shapes.items()
    }


def assert_same_bits(ours: layout.Arrays, theirs: layout.Arrays) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype
        assert ours[name].shape == array.shape, name
        assert ours[name].tobytes() == array.tobytes(), name


def test_gates_are_restacked_from_z_r_h_to_r_z_n() -> None:
    kernel = np.array([["z0", "z1", "r0", "r1", "h0", "h1"]])
    weight_ih = layout.gru_to_torch({"kernel": kernel, "recurrent_kernel": kernel})["weight_ih"]
    assert_array_equal(weight_ih[:, 0], ["r0", "r1", "z0", "z1", "h0", "h1"])


def test_first_bias_row_is_the_input_bias_and_the_second_the_recurrent_one() -> None:
    layer = {"kernel": numbered(2, 6), "recurrent_kernel": numbered(2, 6), "bias": numbered(2, 6)}
    parameters = layout.gru_to_torch(layer)
    assert_array_equal(parameters["bias_ih"], [3, 4, 1, 2, 5, 6])
    assert_array_equal(parameters["bias_hh"], [9, 10, 7, 8, 11, 12])


@given(inputs=st.integers(1, 5), units=st.integers(1, 5), dtype=st.sampled_from("fde"))
def test_keras_to_torch_to_keras_keeps_every_bit(inputs: int, units: int, dtype: str) -> None:
    layer = keras_layer(inputs, units, dtype)
    assert_same_bits(layout.gru_to_keras(layout.gru_to_torch(layer)), layer)


@pytest.mark.parametrize("bias", [None, (12,)], ids=["no bias", "reset_after=False"])
def test_layers_without_a_recurrent_bias_keep_every_bit(bias: tuple[int] | None) -> None:
    layer = {"kernel": numbered(3, 12), "recurrent_kernel": numbered(4, 12)}
    if bias:
        layer["bias"] = numbered(*bias)
    parameters = layout.gru_to_torch(layer)
    assert "bias_hh" not in parameters
    assert_same_bits(layout.gru_to_keras(parameters), layer)


def test_flat_cudnn_bias_and_blocks_come_back_bit_for_bit() -> None:
    layer = {
        "kernel": numbered(5, 12),
        "recurrent_kernel": numbered(4, 12),
        "bias": numbered(24),
    }
    ported = layout.cudnn_to_keras(layer)
    assert ported["bias"].shape == (2, 12)
    assert_array_equal(ported["recurrent_kernel"][:, :4], layer["recurrent_kernel"][:, :4].T)
    assert_same_bits(layout.keras_to_cudnn(ported), layer)


def test_whole_network_goes_there_and_back_in_any_order_of_names() -> None:
    names = [
        f"gru.{kind}_l{layer}{reverse}"
        for layer in range(11)
        for reverse in ("", "_reverse")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    shapes = {"weight_ih": (12, 8), "weight_hh": (12, 4), "bias_ih": (12,), "bias_hh": (12,)}
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shapes[name[4:].split("_l")[0]]) for name in names}
    weights |= {"head.weight": rng.normal(size=(3, 8)), "head.bias": rng.normal(size=3)}
    variables = layout.network_to_keras(weights)
    assert variables["gru_10/backward/bias"].shape == (2, 12)
    assert variables["dense/kernel"].shape == (8, 3)
    shuffled = {name: variables[name] for name in sorted(variables)}
    back = layout.network_to_torch(shuffled)
    assert_same_bits({name: back[name] for name in weights}, weights)


def test_foreign_parameter_is_named_in_the_refusal() -> None:
    with pytest.raises(ValueError, match=r"'lstm.weight_ih_l0' is no parameter of a GRUNet"):
        layout.network_to_keras({"lstm.weight_ih_l0": numbered(2, 2)})
