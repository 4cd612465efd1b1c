"""Layers and models that are called twice, or lie in two models at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from theirs import KERAS_3, Flavour, built, keras_2, quietly

import grulight
from grulight.errors import InputError
from grulight.keras_files.plan import placement

IDS, STEPS = 20, 6


def shared_layer(k: Flavour) -> Any:
    """Return siamese sentences: one Embedding, one GRU, two inputs."""
    a, b = k.Input((STEPS,), name="a"), k.Input((STEPS,), name="b")
    table, read = k.Embedding(IDS, 4, mask_zero=True), k.Bidirectional(k.GRU(3))
    return k.Model([a, b], k.Dense(1)(k.Concatenate()([read(table(a)), read(table(b))])))


def shared_model(k: Flavour) -> Any:
    """Return siamese sentences: one encoder."""
    a, b = k.Input((STEPS,), name="a"), k.Input((STEPS,), name="b")
    encoder = k.Sequential([k.Input((STEPS,)), k.Embedding(IDS, 4), k.GRU(3)])
    return k.Model([a, b], k.Dense(1)(k.Subtract()([encoder(a), encoder(b)])))


def inner_and_outer(k: Flavour) -> Any:
    """Return a model that shares an Embedding with its encoder, which has one of its own, too."""
    table = k.Embedding(IDS, 4, name="table")
    inside = k.Input((STEPS,))
    read = k.Concatenate()([table(inside), k.Embedding(IDS, 5, name="own")(inside)])
    encoder = k.Model(inside, k.GRU(3)(read), name="encoder")
    a, b = k.Input((STEPS,), name="a"), k.Input((STEPS,), name="b")
    return k.Model([a, b], k.Dense(1)(k.Concatenate()([encoder(a), k.GRU(2)(table(b))])))


def inner_first(k: Flavour) -> Any:
    """Return the same sharing, the encoder before the layer in the file."""
    table = k.Embedding(IDS, 4, name="table")
    inside = k.Input((STEPS,))
    encoder = k.Model(inside, k.RepeatVector(STEPS)(k.GRU(3)(table(inside))), name="encoder")
    a = k.Input((STEPS,), name="a")
    read = k.Concatenate()([encoder(a), k.SpatialDropout1D(0.2)(table(a))])
    return k.Model(a, k.Dense(1)(k.GRU(2)(read)))


def compared(model: Any, path: Path) -> None:
    quietly(model.save, path)
    ids = np.random.default_rng(1).integers(0, IDS, (len(model.inputs), 5, STEPS))
    fed = list(ids) if len(ids) > 1 else ids[0]
    theirs = quietly(model, fed).numpy()
    ours = grulight.load_keras(path)(*map(torch.from_numpy, ids)).detach().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("make", [shared_layer, shared_model])
@pytest.mark.parametrize("flavour", [KERAS_3, keras_2()], ids=["keras 3", "tf_keras"])
def test_what_is_called_twice_has_its_weights_once(
    tmp_path: Path, flavour: Flavour, make: Any, suffix: str
) -> None:
    compared(built(make, 0, flavour), tmp_path / f"model.{suffix}")


@pytest.mark.parametrize(
    ("make", "flavour"),
    [(inner_and_outer, KERAS_3), (inner_first, KERAS_3), (inner_first, keras_2())],
)
def test_a_layer_of_two_models_is_written_once_and_read_for_both(
    tmp_path: Path, make: Any, flavour: Flavour
) -> None:
    compared(built(make, 0, flavour), tmp_path / "model.keras")
    [line] = grulight.load_keras(tmp_path / "model.keras").ignored
    assert line.startswith("that models share 'layers/")
    assert line.endswith("each has its own copy")


def test_where_the_file_does_not_tell_which_layer_is_shared_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    quietly(built(inner_and_outer, 0, keras_2()).save, path)
    with pytest.raises(InputError, match="keeps weights of 1 Embedding layers, expected 2"):
        grulight.load_keras(path)


def test_copies_of_shared_arrays_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.keras"
    quietly(built(inner_first, 0).save, path)
    monkeypatch.setattr(placement, "MAX_GROWTH", -(1 << 20))
    with pytest.raises(InputError, match=r"models share arrays so often .* copies take 320 bytes"):
        grulight.load_keras(path)
