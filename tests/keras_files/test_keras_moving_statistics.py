"""Statistics that only training moves: Keras' batch normalisation in training, and the port's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from theirs import KERAS_3, Flavour, keras_2, quietly

import grulight

FLAVOURS = pytest.mark.parametrize("flavour", [KERAS_3, keras_2()], ids=["keras 3", "tf_keras"])
GIVEN = np.random.default_rng(0).normal([[[[1]]], [[[3]]]], 1, (2, 4, 2, 3)).astype("f4")
BRANCHES: dict[str, Any] = {
    "together": lambda k, norm, x, y: k.Add()([norm(x), norm(y)]),
    "the other first": lambda k, norm, x, y: k.Add()([norm(y), norm(x)]),
    "something after": lambda k, norm, x, y: k.Add()([k.ReLU()(norm(x)), k.ReLU()(norm(y))]),
    "a longer way": lambda k, norm, x, y: k.Add()([norm(x), k.ReLU()(norm(y))]),
    "one after the other": lambda k, norm, x, y: k.Add()([norm(k.Add()([norm(x), y])), y]),
    "two outputs": lambda k, norm, x, y: [k.ReLU()(norm(x)), k.ReLU()(norm(y))],
}


def moved(flavour: Flavour, path: Path, branches: Any, **settings: Any) -> np.ndarray:
    """Compare answers and statistics of a normalisation of x and y in training; return its mean."""
    flavour.fresh("float32")
    x, y = flavour.Input((2, 3)), flavour.Input((2, 3))
    norm = flavour.BatchNormalization(**{"momentum": 0.6, "name": "norm", **settings})
    model = flavour.Model([x, y], branches(flavour, norm, x, y))
    quietly(model.save, path)
    ported = grulight.load_keras(path).train()
    theirs, ours = model([*GIVEN], training=True), ported(*map(torch.from_numpy, GIVEN))
    if not isinstance(ours, tuple):
        theirs, ours = [theirs], (ours,)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.detach(), np.asarray(their), atol=1e-5)
    arrays: dict[str, Any] = ported.keras_arrays()["norm"]
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_allclose(arrays[name], getattr(norm, name).numpy(), atol=1e-5)
    return arrays["moving_mean"]


@FLAVOURS
@pytest.mark.parametrize("branches", BRANCHES.values(), ids=BRANCHES)
def test_shared_normalisation_moves_with_each_call_in_the_order_of_keras(
    tmp_path: Path, flavour: Flavour, branches: Any
) -> None:
    assert np.abs(moved(flavour, tmp_path / "model.keras", branches)).max() > 0.1


@FLAVOURS
def test_steps_are_normalised_where_they_are_the_axis(tmp_path: Path, flavour: Flavour) -> None:
    assert moved(flavour, tmp_path / "model.keras", BRANCHES["together"], axis=1).shape == (2,)


@FLAVOURS
def test_what_is_frozen_does_not_move(tmp_path: Path, flavour: Flavour) -> None:
    still = moved(flavour, tmp_path / "model.keras", BRANCHES["together"], trainable=False)
    assert not still.any()
