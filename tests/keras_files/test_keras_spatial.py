"""Layers over rows, columns and more where Keras on a CPU computes in float32 alone, or not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from theirs import KERAS_3, Flavour, built, keras_2, quietly

import grulight
from grulight.errors import InputError
from parity.keras_files.check import check_file

RANDOM = np.random.default_rng(0)


def lips(k: Flavour) -> Any:
    """Return a small LipNet (Assael et al. 2016): convolutions of films in front of GRUs."""
    return k.Sequential(
        [
            k.Input((5, 8, 9, 2)),
            k.ZeroPadding3D((1, 2, 2)),
            k.Conv3D(3, (3, 5, 5), strides=(1, 2, 2), activation="relu"),
            k.SpatialDropout3D(0.5),
            k.MaxPooling3D((1, 2, 2), strides=(1, 2, 1)),
            k.AveragePooling3D((2, 1, 2), strides=1, padding="same"),
            k.TimeDistributed(k.Flatten()),
            k.Bidirectional(k.GRU(3, return_sequences=True)),
            k.Dense(4, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("flavour", [KERAS_3, keras_2()], ids=["keras 3", "tf_keras"])
def test_films_are_pooled_as_keras_does(tmp_path: Path, flavour: Flavour) -> None:
    model = built(lips, 1, flavour)
    quietly(model.save, tmp_path / "model.keras")
    films = RANDOM.normal(size=(3, 5, 8, 9, 2)).astype("float32")
    ours = grulight.load_keras(tmp_path / "model.keras")(torch.from_numpy(films))
    np.testing.assert_allclose(ours.detach().numpy(), quietly(model, films), atol=1e-6)


CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "Conv1D": {"kernel_size": 3, "padding": "same", "strides": 2},
    "Conv2D": {"kernel_size": (3, 2), "strides": (1, 2), "padding": "same"},
    "Conv1DTranspose": {"kernel_size": 3, "strides": 2},
    "Conv2DTranspose": {"kernel_size": (3, 2), "padding": "same", "strides": 2},
    "Conv3D": {"kernel_size": 2},
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_with_the_features_first_are_those_with_the_features_last(
    tmp_path: Path, kind: str
) -> None:
    rank = int(kind[4])
    shape = (7, 6, 5)[:rank]

    def build(k: Flavour) -> Any:
        layer = getattr(k, kind)(4, name="c", activation="relu", **CONVOLUTIONS[kind])
        return k.Sequential([k.Input((*shape, 3)), layer])

    model = built(build, 1)
    quietly(model.save_weights, tmp_path / "model.weights.h5")
    config = json.loads(model.to_json())
    first, second = (each["config"] for each in config["config"]["layers"])
    first["batch_shape"], second["data_format"] = [None, 3, *shape], "channels_first"
    ported = grulight.load_keras(tmp_path / "model.weights.h5", config=config)
    x = RANDOM.normal(size=(2, *shape, 3)).astype("float32")
    ours = ported(torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
    theirs = np.moveaxis(quietly(model, x), -1, 1)
    np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_transposed_convolutions_may_be_dilated(tmp_path: Path, padding: str) -> None:
    def build(k: Flavour) -> Any:
        layer = k.Conv2DTranspose(3, (2, 3), dilation_rate=2, padding=padding)
        return k.Sequential([k.Input((6, 5, 2)), layer])

    model = built(build, 1, keras_2())  # Keras 3 has none of them on a CPU
    quietly(model.save, tmp_path / "model.keras")
    x = RANDOM.normal(size=(2, 6, 5, 2)).astype("float32")
    ours = grulight.load_keras(tmp_path / "model.keras")(torch.from_numpy(x))
    np.testing.assert_allclose(ours.detach().numpy(), quietly(model, x), atol=1e-6)


@pytest.mark.slow
def test_what_keras_computes_only_otherwise_is_proven_rebuilt(tmp_path: Path) -> None:
    def build(k: Flavour) -> Any:
        pictures = k.Input((3, 2, 5, 6))
        convolved = k.TimeDistributed(k.Conv2D(3, 2, data_format="channels_first"))(pictures)
        pooled = k.MaxPooling3D((1, 2, 2), padding="same", data_format="channels_first")(convolved)
        return k.Model(pictures, k.GRU(2)(k.Reshape((3, -1))(pooled)))

    quietly(built(build, 1).save, tmp_path / "model.keras")
    result = check_file(tmp_path / "model.keras")
    assert (result.verdict, result.theirs[:7]) == ("the same", "rebuilt")


WRONG: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Conv2D": ({"filters": 2, "kernel_size": [3, 0]}, (9, 8, 2)),
    "MaxPooling2D": ({"pool_size": [10, 2]}, (9, 8, 2)),
    "UpSampling2D": ({"size": 2, "interpolation": "bilinear"}, (9, 8, 2)),
    "ZeroPadding2D": ({"padding": [[1, -1], [0, 0]]}, (9, 8, 2)),
    "Cropping2D": ({"cropping": [[5, 5], [0, 0]]}, (9, 8, 2)),
    "Conv1DTranspose": (
        {"filters": 2, "kernel_size": [3], "strides": [2], "output_padding": [2]},
        (9, 3),
    ),
    "Conv2DTranspose": ({"filters": 2, "kernel_size": [3, 3], "strides": 1 << 30}, (9, 8, 2)),
    "GroupNormalization": ({"groups": 4}, (9, 6)),
    "RMSNormalization": ({"axis": [3]}, (9, 6)),
    "LayerNormalization": ({"axis": [1, -2]}, (9, 6)),
    "GlobalMaxPooling2D": ({"data_format": "rows_first"}, (9, 8, 2)),
    "DepthwiseConv2D": ({"kernel_size": 2, "dilation_rate": 1 << 30, "padding": "same"}, (9, 8, 2)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, kind: str) -> None:
    settings, shape = WRONG[kind]
    layers = [
        {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, *shape]}},
        {"class_name": kind, "config": {"name": "odd", **settings}},
        {"class_name": "Flatten", "config": {"name": "f"}},
        {"class_name": "Dense", "config": {"name": "d", "units": 2}},
    ]
    config = {"class_name": "Sequential", "config": {"layers": layers}}
    k = KERAS_3.fresh("float32")
    path = tmp_path / "model.weights.h5"
    quietly(k.Sequential([k.Input((3,)), k.Dense(2)]).save_weights, path)
    with pytest.raises(InputError, match=rf"layer 'odd' \({kind}\)"):
        grulight.load_keras(path, config=config)
