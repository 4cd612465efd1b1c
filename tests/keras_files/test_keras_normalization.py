"""Keras' Normalization, adapted to data or given its mean and variance."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from theirs import KERAS_3, Flavour, keras_2, quietly

import grulight
from grulight.errors import InputError
from parity.keras_files.check import check_file

DATA = np.random.default_rng(4).normal(3, 2, (7, 5, 3)).astype("float32")
GIVEN: dict[str, dict[str, Any]] = {
    "a feature each": {},
    "one for all": {"axis": None},
    "a step and a feature each": {"axis": (1, 2)},
    "given": {"mean": [1.0, 2.0, 3.0], "variance": [0.1, 4.0, 0.0]},
    "given once for all": {"mean": 0.1, "variance": 3.0},
    "back": {"mean": [1.0, 2.0, 3.0], "variance": [0.1, 4.0, 0.5], "invert": True},
}


# both formats by default from one Keras each: what is written of a layer is the Keras' own
WRITTEN = [
    pytest.param(KERAS_3, "keras", id="keras 3-keras"),
    pytest.param(keras_2(), "h5", id="tf_keras-h5"),
    pytest.param(KERAS_3, "h5", id="keras 3-h5", marks=pytest.mark.slow),
    pytest.param(keras_2(), "keras", id="tf_keras-keras", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("flavour", "suffix"), WRITTEN)
@pytest.mark.parametrize("settings", GIVEN.values(), ids=GIVEN)
def test_it_standardises_as_keras_does(
    tmp_path: Path, flavour: Flavour, settings: dict[str, Any], suffix: str
) -> None:
    k = flavour.fresh("float32")
    layer = k.Normalization(**settings)
    if "mean" not in settings:
        layer.adapt(DATA)
    model = k.Sequential([k.Input((5, 3)), layer, k.GRU(2)])
    quietly(model.save, tmp_path / f"model.{suffix}")
    ported = grulight.load_keras(tmp_path / f"model.{suffix}")
    ours = ported(torch.from_numpy(DATA[:4])).detach().numpy()
    np.testing.assert_allclose(ours, quietly(model, DATA[:4]), atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"mean": "x", "variance": 1}, {"mean": [1, 2]}, {"mean": 1}, {"axis": 5}]
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    layers = [
        {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 5, 3]}},
        {"class_name": "Normalization", "config": {"name": "n", "axis": [-1], **settings}},
        {"class_name": "GRU", "config": {"name": "g", "units": 2}},
    ]
    config = {"class_name": "Sequential", "config": {"layers": layers}}
    k = KERAS_3.fresh("float32")
    path = tmp_path / "model.weights.h5"
    quietly(k.Sequential([k.Input((5, 3)), k.GRU(2)]).save_weights, path)
    with pytest.raises(InputError, match="layer 'n' \\(Normalization\\)"):
        grulight.load_keras(path, config=config)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("kind", ["Normalization", "Rescaling"])
@pytest.mark.parametrize("flavour", [KERAS_3, keras_2()], ids=["keras 3", "tf_keras"])
def test_masks_pass_where_they_pass_in_the_keras_of_the_file(
    tmp_path: Path, flavour: Flavour, kind: str, suffix: str
) -> None:
    k = flavour.fresh("float32")
    given = (k.Normalization(mean=[1.0, 2.0, 3.0], variance=[0.1, 4.0, 1.0]), k.Rescaling(2.0))
    layer = given[kind == "Rescaling"]
    model = k.Sequential([k.Input((5, 3)), k.Masking(0.0), layer, k.GRU(2)])
    data = DATA[:4].copy()
    data[1, 3:], data[2, :2] = 0, 0
    quietly(model.save, tmp_path / f"model.{suffix}")
    ours = grulight.load_keras(tmp_path / f"model.{suffix}")(torch.from_numpy(data))
    np.testing.assert_allclose(ours.detach().numpy(), quietly(model, data), atol=1e-6)


ROW = np.array([0.1, 2.0, -3.0])
ARRAYS: dict[str, Callable[[Flavour], list[Any]]] = {
    "one each": lambda k: [k.Rescaling(0.1, np.float32(-0.3))],
    "an array for each feature": lambda k: [k.Rescaling(ROW.astype("float32"), ROW / 7)],
    "a list for each feature": lambda k: [k.Rescaling([0.1, 0.2, 0.3], offset=[1, 2, 3])],
    "an array for each step": lambda k: [k.Rescaling(np.linspace(0.1, 0.9, 5)[:, None], 1.0)],
    "an array of one": lambda k: [k.Rescaling(np.array([[[0.7]]]), np.array(0.1))],
    "a rate": lambda k: [k.Dropout(np.array(0.3)), k.LeakyReLU(np.float64(0.1))],
}


def saved(path: Path, flavour: Flavour, name: str) -> Any:
    k = flavour.fresh("float32")
    model = k.Sequential([k.Input((5, 3)), *ARRAYS[name](k), k.GRU(2)])
    quietly(model.save, path)
    return model


@pytest.mark.parametrize(("flavour", "suffix"), WRITTEN)
@pytest.mark.parametrize("name", ARRAYS)
def test_settings_may_be_arrays(tmp_path: Path, flavour: Flavour, name: str, suffix: str) -> None:
    model = saved(tmp_path / f"model.{suffix}", flavour, name)
    ours = grulight.load_keras(tmp_path / f"model.{suffix}")(torch.from_numpy(DATA))
    np.testing.assert_allclose(ours.detach().numpy(), quietly(model, DATA), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("flavour", [KERAS_3, keras_2()], ids=["keras 3", "tf_keras"])
@pytest.mark.parametrize("name", ARRAYS)
def test_settings_that_are_arrays_are_proven(tmp_path: Path, flavour: Flavour, name: str) -> None:
    saved(tmp_path / "model.keras", flavour, name)
    assert check_file(tmp_path / "model.keras").verdict == "the same"


def test_numbers_without_a_type_are_rounded_as_tensorflow_does(tmp_path: Path) -> None:
    k, data = KERAS_3.fresh("float32"), DATA.astype("float64")
    for scale in (0.1, [0.1, 0.2, 0.3], np.array([0.1, 0.2, 0.3])):
        exact = {"dtype": "float64"}
        layers = [k.Rescaling(scale, 0.7, **exact), k.Dense(1, "linear", False, "ones", **exact)]
        model = k.Sequential([k.Input((5, 3)), *layers])
        quietly(model.save, tmp_path / "model.keras")
        ported = grulight.load_keras(tmp_path / "model.keras").double()
        ours = ported(torch.from_numpy(data)).detach().numpy()
        np.testing.assert_allclose(ours, layers[1](layers[0](data)), rtol=1e-14)


@pytest.mark.parametrize("given", [[1.0, 2.0], [[1.0], [2.0, 3.0]], ["x"], [[[[1.0]]]], {}])
def test_arrays_that_do_not_lie_along_the_input_are_refused(tmp_path: Path, given: Any) -> None:
    k = KERAS_3.fresh("float32")
    model = k.Sequential([k.Input((5, 3)), k.Rescaling(2.0, name="r"), k.GRU(2)])
    config = json.loads(model.to_json())
    config["config"]["layers"][1]["config"]["scale"] = given
    path = tmp_path / "model.weights.h5"
    quietly(model.save_weights, path)
    with pytest.raises(InputError, match="layer 'r'"):
        grulight.load_keras(path, config=config)
