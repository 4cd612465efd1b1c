"""Keras 2 bears witness on files of its own, where tf_keras is installed."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grulight.keras_files.layers.standardization import Normalization
from grulight.keras_files.port import load_keras
from parity.keras_files.arrays import arrays_of
from parity.keras_files.file_questions import FileQuestions
from parity.keras_files.inputs import Input, inputs_of
from parity.keras_files.keras_rebuild import rebuilt
from parity.keras_files.layout import by_path
from parity.keras_files.other_witnesses import judged, statements
from parity.keras_files.ported_side import PortedSide
from parity.result import Implementation
from parity.sides.keras_setup import keras

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    tf_keras = pytest.importorskip("tf_keras", reason="Keras 2 is not installed")
L = tf_keras.layers


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of Keras 2 whose Normalization drops the mask, as that of Keras 3 does not."""
    rng = np.random.default_rng(0)
    normalization = L.Normalization(mean=[0.5, 1.0, 1.5], variance=[1.0, 2.0, 3.0])
    layers = [L.Masking(0.0), normalization, L.GRU(4), L.Dense(2, activation="hard_sigmoid")]
    model = tf_keras.Sequential([tf_keras.Input((None, 3)), *layers])
    model.set_weights([rng.normal(0, 0.3, each.shape) for each in model.get_weights()])
    path = tmp_path_factory.mktemp("keras2") / "m.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def said(path: Path) -> dict[str, list[Implementation]]:
    """Return what each witness finds of the port."""
    model = load_keras(path)
    side, graph = PortedSide(model), model.network.graph
    weights, settings = arrays_of(path, None, graph, by_path(model.keras_arrays()))
    questions = FileQuestions(graph, weights, inputs_of(graph, weights), side.trained)
    found = statements(path, None, settings, questions, side)
    return {each.name: judged(each, {"ours": side}, "ours") for each in found}


def test_keras_2_agrees_also_where_rows_are_masked_throughout(masked: Path) -> None:
    [(name, found)] = said(masked).items()
    assert name == f"tf_keras {tf_keras.__version__}"
    assert {each.case.partition(",")[0] for each in found} == {
        *("own_weights_random_inputs", "rows_masked_throughout")
    }
    assert max(each.relative for each in found) <= 1e-13


def test_port_that_hands_on_a_mask_that_keras_2_drops_is_noticed(
    masked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handed_on(self: Any, *signals: Any) -> Any:
        return (signals[0]._replace(value=self.compute(signals[0].value)),)

    monkeypatch.setattr(Normalization, "forward", handed_on)
    [found] = said(masked).values()
    assert not all(each.same for each in found)


def test_mask_that_a_layer_makes_of_each_step_is_handed_on(tmp_path: Path) -> None:
    words = [L.Embedding(9, 3, mask_zero=True), L.GRU(4)]
    layers = [*map(L.TimeDistributed, words), L.GRU(3), L.Dense(2)]
    model = tf_keras.Sequential([tf_keras.Input((5, 6), dtype="int32"), *layers])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "m.h5")
    ids = np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype("int32")
    ids[0, 1], ids[1], ids[2, :, 2:], ids[3, -1] = 0, 0, 0, 0
    right = model(ids).numpy()
    ported = load_keras(tmp_path / "m.h5")
    graph = ported.network.graph
    again = rebuilt(graph, [Input("ids", ids.shape, "ids")], "float32")
    again.set_weights(model.get_weights())
    ours = ported(torch.tensor(ids)).detach().numpy()
    assert np.abs(ours - right).max() <= 1e-6
    assert np.abs(keras.ops.convert_to_numpy(again(ids)) - right).max() <= 1e-6
