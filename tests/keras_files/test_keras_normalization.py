"""Keras' Normalization, adapted to data or given its mean and variance."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from theirs import KERAS_3, Flavour, keras_2, quietly

import grulight
from grulight.errors import InputError

DATA = np.random.default_rng(4).normal(3, 2, (7, 5, 3)).astype("float32")
GIVEN: dict[str, dict[str, Any]] = {
    "a feature each": {},
    "one for all": {"axis": None},
    "a step and a feature each": {"axis": (1, 2)},
    "given": {"mean": [1.0, 2.0, 3.0], "variance": [0.1, 4.0, 0.0]},
    "given once for all": {"mean": 0.1, "variance": 3.0},
    "back": {"mean": [1.0, 2.0, 3.0], "variance": [0.1, 4.0, 0.5], "invert": True},
}


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("flavour", [KERAS_3, keras_2()], ids=["keras 3", "tf_keras"])
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
