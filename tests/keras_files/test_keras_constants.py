"""Constant tensors among the arguments of operations, and inputs given as one dictionary."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from theirs import KERAS_3, Flavour, built, keras_2, quietly

import grulight
from grulight.errors import InputError
from grulight.keras_files.model_description import rebuild
from grulight.keras_files.plan.constants import constant

ONES = np.ones((6, 3), "float32")
ROW = np.array([0.1, 2.0, -3.0], "float32")


def of_tensorflow(k: Flavour) -> Any:
    a = k.Input((6, 3))
    return k.Model(a, k.Dense(2)(k.GRU(4)(a * tf.constant(ROW) + ONES)))


def positions(k: Flavour) -> Any:
    a = k.Input((12,), dtype="int32")
    x = k.Embedding(50, 8)(a) + k.Embedding(12, 8)(tf.range(0, 12, 1))
    return k.Model(a, k.Dense(2)(k.GRU(4)(x)))


def of_keras_3(k: Flavour) -> Any:
    a = k.Input((6, 3))
    return k.Model(a, k.Dense(2)(k.GRU(4)(k.ops.multiply(a, ROW) + ONES)))


@pytest.mark.parametrize(
    ("build", "flavour", "suffix"),
    [
        (of_tensorflow, keras_2, "h5"),
        (of_tensorflow, keras_2, "keras"),
        (positions, keras_2, "h5"),
        (positions, keras_2, "keras"),
        (of_keras_3, lambda: KERAS_3, "keras"),
        (of_keras_3, lambda: KERAS_3, "h5"),
    ],
)
def test_constants_compute_what_keras_computes(
    build: Callable[[Flavour], Any], flavour: Callable[[], Flavour], suffix: str, tmp_path: Path
) -> None:
    k = flavour().fresh("float32")
    model = build(k)
    path = tmp_path / f"model.{suffix}"
    quietly(model.save, path)
    random = np.random.default_rng(3)
    x = random.integers(0, 50, (5, 12)) if build is positions else random.normal(size=(5, 6, 3))
    x = x.astype("int32" if build is positions else "float32")
    ported = grulight.load_keras(path)
    again = rebuild(ported.description)
    again.load_state_dict(ported.state_dict())
    expected = np.asarray(model(x))
    for each in (ported, again):
        found = each(torch.from_numpy(x)).detach().numpy()
        assert np.abs(found - expected).max() <= 1e-6


@pytest.mark.parametrize("entry", [[[1.0, 2.0], [3.0]], [1.0, [2.0]], [[]], [1 << 64]])
def test_an_irregular_constant_is_refused_in_one_line(entry: list[Any]) -> None:
    with pytest.raises(InputError, match="constant tensor that cannot be read") as caught:
        constant("add", entry)
    assert len(str(caught.value)) <= 500
    assert "\n" not in str(caught.value)


def two_inputs(k: Flavour) -> Any:
    a, b = k.Input((6, 3), name="seq"), k.Input((2,), name="meta")
    return k.Model([a, b], k.Dense(2)(k.Concatenate()([k.GRU(4)(a), b])))


def test_inputs_are_taken_as_one_dictionary(tmp_path: Path) -> None:
    model = built(two_inputs, 1, KERAS_3)
    quietly(model.save, tmp_path / "model.keras")
    ported = grulight.load_keras(tmp_path / "model.keras")
    random = np.random.default_rng(3)
    given = {
        "meta": random.normal(size=(4, 2)).astype("float32"),
        "seq": random.normal(size=(4, 6, 3)).astype("float32"),
    }
    tensors = {name: torch.from_numpy(each) for name, each in given.items()}
    found = ported(tensors)
    assert np.abs(found.detach().numpy() - np.asarray(model(given))).max() <= 1e-6
    assert torch.equal(found, ported(tensors["seq"], tensors["meta"]))
    for wrong in ({"seq": tensors["seq"]}, {**tensors, "other": tensors["meta"]}, {}):
        with pytest.raises(InputError, match="expected the keys 'seq', 'meta'"):
            ported(wrong)
