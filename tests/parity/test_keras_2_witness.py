"""Keras 2 bears witness on files of its own, where tf_keras is installed."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grulight.keras_files.layers import network
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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of Keras 2 that normalises y before x, as what follows is reached backwards."""
    x, y, normalization = L.Input((9, 3)), L.Input((9, 3)), L.BatchNormalization()
    branches = [L.GRU(4)(normalization(each)) for each in (L.Masking(0.5)(x), y)]
    model = tf_keras.Model([x, y], L.Dense(2)(L.Average()(branches)))
    path = tmp_path_factory.mktemp("keras2") / "shared.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def test_keras_2_agrees_where_moving_statistics_go(shared: Path) -> None:
    found = said(shared)[f"tf_keras {tf_keras.__version__}"]
    [moved] = [each for each in found if each.case.startswith("own_weights_as_in_training")]
    assert moved.same
    assert moved.tensor.startswith("train.batch_normalization/moving_")


def test_shared_normalisation_that_is_called_in_another_order_is_noticed(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "by_depth", lambda calls: calls)
    found = said(shared)[f"tf_keras {tf_keras.__version__}"]
    [wrong] = [each for each in found if not each.same]
    assert wrong.case.startswith("own_weights_as_in_training")
    assert wrong.tensor == "train.batch_normalization/moving_mean"


def test_model_rebuilt_in_keras_3_calls_its_layers_in_the_order_of_keras_2(tmp_path: Path) -> None:
    x, y, normalization = L.Input((9, 3)), L.Input((9, 3)), L.BatchNormalization()
    model = tf_keras.Model([x, y], L.GRU(4)(L.Add()([normalization(x), normalization(y)])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "m.h5")
    graph = load_keras(tmp_path / "m.h5").network.graph
    again = rebuilt(graph, [Input(name, (5, 9, 3), "float") for name in "xy"], "float32")
    given = [np.full((5, 9, 3), at, "f4") for at in (1, 3)]
    model(given, training=True)
    again(given, training=True)
    right, found = (
        next(each for each in one.layers if hasattr(each, "moving_mean")).moving_mean.numpy()
        for one in (model, again)
    )
    assert np.abs(found - right).max() <= 1e-6


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
