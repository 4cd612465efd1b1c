"""`parity check` of files that it once misjudged."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from theirs import KERAS_3, Flavour, built, keras_2, quietly

from parity.keras_file import check_file
from parity.result import Result


def checked(model: Any) -> Result:
    quietly(model.save, "model.keras")
    result = check_file("model.keras")
    assert result.verdict == "the same"
    return result


def test_dropout_that_is_always_on_is_compared_off_and_said_so() -> None:
    def model(k: Flavour) -> Any:
        x = k.Input((5, 3))
        kept = k.Dropout(0.5, name="monte_carlo")(k.GRU(2)(x), training=True)
        return k.Model(x, k.Dense(1)(kept))

    notes = " ".join(checked(built(model, 0, keras_2())).notes)
    assert "calls monte_carlo as in training" in notes


def test_a_gradient_of_rounding_is_no_difference() -> None:
    def model(k: Flavour) -> Any:
        layers = [k.GRU(2, return_sequences=True), k.Dense(1, name="scores"), k.Softmax(axis=1)]
        return k.Sequential([k.Input((5, 3)), *layers])

    result = checked(built(model, 0))
    assert any("scores/bias: without a gradient" in note for note in result.notes)


def test_a_normalization_sees_the_weights_of_each_question() -> None:
    k = KERAS_3.fresh("float32")
    layer = k.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3, 2, (7, 5, 3)))
    checked(k.Sequential([k.Input((5, 3)), layer, k.GRU(2)]))


def test_a_layer_of_two_models_is_proven_though_keras_cannot_open_it() -> None:
    def model(k: Flavour) -> Any:
        inside, a = k.Input((5, 3)), k.Input((5, 3))
        shared = k.Dense(4, activation="tanh", name="shared")
        encoder = k.Model(inside, k.GRU(2)(shared(inside)))
        return k.Model(a, k.Concatenate()([encoder(a), k.GRU(3)(shared(a))]))

    assert "rebuilt" in checked(built(model, 0)).theirs


def test_a_layer_that_tensorflow_cannot_name_is_proven() -> None:
    def model(k: Flavour) -> Any:
        inner = k.Sequential([k.Input((5, 3), name="a<b"), k.GRU(2, name="my layer")])
        return k.Sequential([k.Input((5, 3)), inner, k.Dense(1, name="plain")])

    notes = " ".join(checked(built(model, 0)).notes)
    assert "cannot name a layer 'a<b' in TensorFlow" in notes or "'my layer'" in notes


def test_tensorflow_and_triton_live_in_one_process() -> None:
    pytest.importorskip("triton")
    root = Path(__file__).parents[2]
    program = [sys.executable, "-c", "import parity.keras_side, torch._dynamo, triton"]
    subprocess.run(program, cwd=root, check=True, capture_output=True)
