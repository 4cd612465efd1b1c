"""Files of every generation, written byte by byte, give what the NumPy witness computes."""

from pathlib import Path
from typing import Any

import kerasbytes as kb
import numpy as np
import oracle
import pytest
import torch

from grulight.errors import InputError
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel

X = np.random.default_rng(1).normal(size=(4, 6, 3))
GRU_NAMES = ("kernel", "recurrent_kernel", "bias")


def run(model: PortedModel, x: np.ndarray = X) -> np.ndarray:
    output = model.double()(torch.from_numpy(x))
    assert isinstance(output, torch.Tensor)
    return output.detach().numpy()


def one_gru(kind: str = "GRU", as_list: bool = False, **settings: object) -> dict[str, Any]:
    layers = [kb.layer(kind, **kb.gru_config(batch_input_shape=[None, 6, 3], **settings))]
    return {"class_name": "Sequential", "config": layers if as_list else {"layers": layers}}


def gru_file(
    config: dict[str, Any],
    arrays: list[np.ndarray],
    version: str | None = "2.2.4",
    names: tuple[str, ...] = tuple(f"gru/{name}:0" for name in GRU_NAMES),
) -> bytes:
    return kb.legacy(config, {"gru": list(zip(names, arrays, strict=False))}, version)


def test_keras_1_nine_arrays_hard_sigmoid_and_reset_before(tmp_path: Path) -> None:
    settings = {
        "name": "gru",
        "output_dim": 4,
        "activation": "tanh",
        "inner_activation": "hard_sigmoid",
        "dropout_W": 0.0,
        "dropout_U": 0.0,
        "consume_less": "cpu",
        "return_sequences": True,
        "go_backwards": False,
        "input_dim": 3,
        "input_length": None,
    }
    config = {"class_name": "Sequential", "config": [kb.layer("GRU", **settings)]}
    parts = kb.arrays(*[(3, 4), (4, 4), (4,)] * 3)
    names = [f"gru_{part}_{gate}:0" for gate in "zrh" for part in "WUb"]
    path = kb.saved(tmp_path, gru_file(config, parts, None, tuple(names)))
    kernel, recurrent, bias = (np.concatenate(parts[at::3], -1) for at in range(3))
    expected = oracle.gru(
        X, kernel, recurrent, bias, reset_after=False, gate=oracle.old_hard_sigmoid
    )
    np.testing.assert_allclose(run(load_keras(path)), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("version", "absent", "gate"),
    [
        ("2.0.8", ("reset_after", "recurrent_activation"), oracle.old_hard_sigmoid),
        ("2.2.4", ("reset_after",), oracle.sigmoid),
    ],
)
def test_defaults_are_those_of_the_file_s_keras(
    version: str, absent: tuple[str, ...], gate: object, tmp_path: Path
) -> None:
    config = one_gru(return_sequences=True)
    for key in absent:
        del config["config"]["layers"][0]["config"][key]
    kernel, recurrent, bias = kb.gru_arrays(3, 4, "one row")
    path = kb.saved(tmp_path, gru_file(config, [kernel, recurrent, bias], version))
    expected = oracle.gru(X, kernel, recurrent, bias, reset_after=False, gate=gate)
    np.testing.assert_allclose(run(load_keras(path)), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "names",
    [
        tuple(f"gru_1/{name}" for name in GRU_NAMES),  # Theano
        tuple(f"gru/gru_cell_3/{name}:0" for name in GRU_NAMES),  # tf.keras from 2.3
        tuple(f"sequential/gru/gru_cell/{name}" for name in GRU_NAMES),  # Keras 3
    ],
)
@pytest.mark.parametrize("as_list", [True, False])
def test_names_of_arrays_may_be_anyones(
    names: tuple[str, ...], as_list: bool, tmp_path: Path
) -> None:
    arrays = kb.gru_arrays(3, 4)
    config = one_gru(as_list=as_list, return_sequences=True)
    path = kb.saved(tmp_path, gru_file(config, arrays, names=names))
    expected = oracle.gru(X, *arrays)
    np.testing.assert_allclose(run(load_keras(path)), expected, rtol=1e-12, atol=1e-14)


def test_cudnn_gru_with_a_flat_bias(tmp_path: Path) -> None:
    kernel, recurrent, bias = kb.gru_arrays(3, 4)

    def per_gate(stacked: np.ndarray, order: str | None) -> np.ndarray:
        blocks = np.hsplit(stacked, 3)
        return np.hstack(
            [b.T if order is None else b.T.reshape(b.shape, order="C") for b in blocks]
        )

    arrays = [per_gate(kernel, "C"), per_gate(recurrent, None), bias.reshape(-1)]
    config = {
        "class_name": "Sequential",
        "config": [
            kb.layer(
                "CuDNNGRU",
                name="gru",
                units=4,
                return_sequences=True,
                batch_input_shape=[None, 6, 3],
            )
        ],
    }
    path = kb.saved(tmp_path, gru_file(config, arrays))
    expected = oracle.gru(X, kernel, recurrent, bias)
    np.testing.assert_allclose(run(load_keras(path)), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("version", "zeroed"), [("2.2.4", False), ("2.3.0-tf", True)])
def test_bidirectional_zeroes_masked_steps_only_since_tensorflow(
    version: str, zeroed: bool, tmp_path: Path
) -> None:
    inner = kb.layer("GRU", **kb.gru_config(return_sequences=True))
    config = {
        "class_name": "Sequential",
        "config": [
            kb.layer("Masking", name="m", mask_value=0.0, batch_input_shape=[None, 6, 3]),
            kb.layer("Bidirectional", name="both", layer=inner, merge_mode="concat"),
        ],
    }
    arrays = [*kb.gru_arrays(3, 4), *kb.gru_arrays(3, 4)]
    names = [f"both/{way}_gru/{n}:0" for way in ("forward", "backward") for n in GRU_NAMES]
    weights: dict[str, kb.Weights] = {"m": [], "both": list(zip(names, arrays, strict=True))}
    path = kb.saved(tmp_path, kb.legacy(config, weights, version))
    x = X.copy()
    x[0, 2:] = x[1, :3] = x[2, 1] = 0
    mask = (x != 0).any(-1)
    there = oracle.gru(x, *arrays[:3], mask=mask)
    back = oracle.gru(x, *arrays[3:], mask=mask, backwards=True)[:, ::-1]
    expected = np.concatenate([there, back], -1)
    if zeroed:
        expected = expected * mask[..., None]
    np.testing.assert_allclose(run(load_keras(path), x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "rename",
    [
        pytest.param(lambda p: p, id="as keras 2.15"),
        pytest.param(
            lambda p: p.replace("layers/", "_layer_checkpoint_dependencies/").replace(
                "gru_1/", "gru_2/"
            ),
            id="as keras 2.13, which counts twice",
        ),
        pytest.param(
            lambda p: p.partition("/vars/")[0].replace("/", "\\") + "/vars/" + p[-1],
            id="as keras 2.15 on windows",
        ),
    ],
)
def test_native_trees_of_keras_2(rename: Any, tmp_path: Path) -> None:
    first = kb.layer(
        "GRU", **kb.gru_config(name="a", return_sequences=True, batch_input_shape=[None, 6, 3])
    )
    second = kb.layer("GRU", **kb.gru_config(name="b", return_sequences=True))
    config = {"class_name": "Sequential", "config": {"layers": [first, second]}}
    ours, theirs = kb.gru_arrays(3, 4), kb.gru_arrays(4, 4)
    tree = {f"layers/gru/cell/vars/{at}": array for at, array in enumerate(ours)}
    tree |= {f"layers/gru_1/cell/vars/{at}": array for at, array in enumerate(theirs)}
    content = kb.native_hdf5({rename(path): array for path, array in tree.items()})
    path = kb.saved(tmp_path, kb.zipped(config, content, "2.15.0"))
    expected = oracle.gru(oracle.gru(X, *ours), *theirs)
    np.testing.assert_allclose(run(load_keras(path)), expected, rtol=1e-12, atol=1e-14)


def test_an_eleventh_layer_of_a_class_follows_the_tenth(tmp_path: Path) -> None:
    many = [kb.gru_config(name=f"gru{at}", return_sequences=True) for at in range(11)]
    many[0]["batch_input_shape"] = [None, 6, 3]
    layers = [kb.layer("GRU", **each) for each in many]
    arrays = [[(1 + at / 9) * a for a in kb.gru_arrays(4 if at else 3, 4)] for at in range(11)]
    tree = {
        f"layers/gru{f'_{number}' if number else ''}/cell/vars/{at}": array
        for number, held in enumerate(arrays)
        for at, array in enumerate(held)
    }
    config = {"class_name": "Sequential", "config": {"layers": layers}}
    path = kb.saved(tmp_path, kb.zipped(config, kb.native_hdf5(tree), "2.15.0"))
    expected = X
    for held in arrays:
        expected = oracle.gru(expected, *held)
    np.testing.assert_allclose(run(load_keras(path)), expected, rtol=1e-11, atol=1e-13)


def test_weights_alone_by_order_where_layer_names_differ(tmp_path: Path) -> None:
    config, weights = kb.small_model()
    renamed = {f"{name}_7": held for name, held in weights.items()}
    path = kb.saved(tmp_path, kb.legacy(None, renamed))
    whole = load_keras(kb.saved(tmp_path, kb.legacy(config, weights), "whole.h5"))
    np.testing.assert_array_equal(run(load_keras(path, config=config)), run(whole))


def test_shape_that_the_configuration_forbids_is_refused_before_reading(tmp_path: Path) -> None:
    path = kb.saved(tmp_path, gru_file(one_gru(units=5), kb.gru_arrays(3, 4)))
    with pytest.raises(InputError, match=r"'gru': kernel has shape \(3, 12\).*expected \(3, 15\)"):
        load_keras(path)


def test_arrays_under_each_other_s_names_are_refused(tmp_path: Path) -> None:
    kernel, recurrent, bias = kb.gru_arrays(4, 4)
    config = one_gru()
    config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 6, 4]
    names = ("gru/recurrent_kernel:0", "gru/kernel:0", "gru/bias:0")
    path = kb.saved(tmp_path, gru_file(config, [recurrent, kernel, bias], names=names))
    with pytest.raises(InputError, match="where kernel is expected"):
        load_keras(path)


def test_left_over_array_is_refused(tmp_path: Path) -> None:
    config, _ = kb.small_model()
    tree = kb.small_tree() | {"layers/dense/vars/2": np.ones(3, np.float32)}
    path = kb.saved(tmp_path, kb.zipped(config, kb.native_hdf5(tree)))
    with pytest.raises(InputError, match="no layer takes the array 'dense/vars/2'"):
        load_keras(path)


@pytest.mark.parametrize("version", [None, "1.2.2"])
@pytest.mark.parametrize(("ending", "turned"), [(":0", False), ("", True)])
def test_theano_turns_the_kernels_of_keras_1_which_only_names_tell(
    ending: str, turned: bool, version: str | None, tmp_path: Path
) -> None:
    settings = {
        "name": "conv",
        "batch_input_shape": [None, 6, 3],
        "nb_filter": 2,
        "filter_length": 3,
        "border_mode": "valid",
        "subsample_length": 1,
        "activation": "linear",
        "bias": True,
    }
    config = {
        "class_name": "Sequential",
        "config": [kb.layer("Convolution1D", **settings), kb.layer("GRU", **KERAS_1_GRU)],
    }
    kernel, bias = kb.arrays((2, 3, 3, 1), (2,))
    parts = kb.arrays(*[(2, 4), (4, 4), (4,)] * 3)
    names = [f"gru_{part}_{gate}{ending}" for gate in "zrh" for part in "WUb"]
    held = {
        "conv": [(f"conv_W{ending}", kernel), (f"conv_b{ending}", bias)],
        "gru": list(zip(names, parts, strict=True)),
    }

    def unsaid(file: object) -> None:
        file["model_weights"].attrs.pop("backend", None)

    path = kb.saved(tmp_path, kb.legacy(config, held, version, unsaid))
    window = kernel[:, :, ::-1, 0] if turned else kernel[..., 0]
    steps = [np.einsum("blc,fcl->bf", X[:, at : at + 3], window) + bias for at in range(4)]
    gru = (np.concatenate(parts[at::3], -1) for at in range(3))
    expected = oracle.gru(np.stack(steps, 1), *gru, reset_after=False, gate=oracle.old_hard_sigmoid)
    np.testing.assert_allclose(run(load_keras(path)), expected, rtol=1e-12, atol=1e-14)


KERAS_1_GRU = {
    "name": "gru",
    "output_dim": 4,
    "activation": "tanh",
    "inner_activation": "hard_sigmoid",
    "return_sequences": True,
    "input_dim": 2,
}
