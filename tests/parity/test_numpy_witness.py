"""What NumPy makes of a Keras file by itself: it notices what the port reads wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from grulight.keras_files.layers.normalization import BatchNormalization
from grulight.keras_files.port import load_keras
from grulight.keras_files.reader import hdf5_model
from grulight.keras_files.reader.versions import KerasVersion
from parity.compare import compare
from parity.keras_files.arrays import arrays_of
from parity.keras_files.file_questions import FileQuestions
from parity.keras_files.inputs import inputs_of
from parity.keras_files.layout import by_path
from parity.keras_files.numpy_chain import witness
from parity.keras_files.ported_side import PortedSide
from parity.sides.quiet import without_warnings

L = keras.layers
RNG = np.random.default_rng(3)


def draw(*shape: int) -> np.ndarray:
    return RNG.uniform(0.05, 0.4, shape).astype(np.float32)


def distance(path: Path) -> float | None:
    """Return how far the port is from the witness, which reads the file itself; None without."""
    model = load_keras(path)
    graph = model.network.graph
    weights, _ = arrays_of(path, None, graph, by_path(model.keras_arrays()))
    side = PortedSide(model)
    question = FileQuestions(graph, weights, inputs_of(graph, weights), side.trained).own()
    if (second := witness(path, None, question)) is None:
        return None
    expected, answer = second(question, own=True), side(question)
    ours = {name: answer[name] for name in expected}
    return max(each.relative for each in compare(ours, expected))


def saved(path: Path, *layers: Any, shape: tuple[int | None, ...] = (9, 4)) -> Path:
    model = keras.Sequential([keras.Input(shape), *layers])
    model.set_weights([draw(*variable.shape) for variable in model.weights])
    with without_warnings():
        model.save(path)
    return path


CHAINS: dict[str, Callable[[], list[Any]]] = {
    "convolutions": lambda: [
        L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu"),
        L.Conv1D(6, 3, strides=2, padding="same", groups=2),
        L.SeparableConv1D(5, 2, depth_multiplier=2),
        L.DepthwiseConv1D(2, padding="same"),
        L.GRU(3),
    ],
    "pooling and normalisation": lambda: [
        L.BatchNormalization(),
        L.AveragePooling1D(2, padding="same"),
        L.LayerNormalization(),
        L.MaxPooling1D(3, strides=1),
        L.GRU(3, return_sequences=True),
        L.GlobalAveragePooling1D(),
        L.Dense(2, activation="softmax"),
    ],
    "masks and wrappers": lambda: [
        L.Masking(0.5),
        L.TimeDistributed(L.Dense(5, activation="tanh")),
        L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="ave"),
        L.GRU(3, go_backwards=True, reset_after=False, zero_output_for_mask=True),
    ],
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_witness_and_port_agree(name: str, ending: str, tmp_path: Path) -> None:
    found = distance(saved(tmp_path / f"m{ending}", *CHAINS[name]()))
    assert found is not None
    assert found <= 1e-13


def test_witness_follows_merges_ids_and_states(tmp_path: Path) -> None:
    ids, start = keras.Input((7,), dtype="int32"), keras.Input((3,))
    x = L.Embedding(9, 3)(ids)
    both = L.Concatenate()([L.Multiply()([x, x]), L.Subtract()([x, L.ReLU()(x)])])
    model = keras.Model([ids, start], L.GRU(3)(both, initial_state=start))
    with without_warnings():
        model.save(tmp_path / "m.keras")
    found = distance(tmp_path / "m.keras")
    assert found is not None
    assert found <= 1e-13


def test_witness_does_not_follow_what_it_does_not_know(tmp_path: Path) -> None:
    assert distance(saved(tmp_path / "m.keras", L.UnitNormalization(), L.GRU(2))) is None


def test_gamma_and_beta_read_in_each_others_place_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "m.keras", L.BatchNormalization(), L.GRU(3))
    assert (distance(path) or 0.0) <= 1e-13
    right = BatchNormalization.variables

    def swapped(spec: Any, shapes: Any) -> Any:
        held = right(spec, shapes)
        places = {"gamma": held["beta"].path, "beta": held["gamma"].path}
        return held | {name: replace(held[name], path=path) for name, path in places.items()}

    monkeypatch.setattr(BatchNormalization, "variables", swapped)
    assert (distance(path) or 0.0) > 1e-3


def old_file(path: Path, layer: dict[str, Any], arrays: dict[str, Any], **said: str) -> Path:
    """Write a file of one layer as Keras 1 and 2 do."""
    name = layer["config"]["name"]
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": [layer]})
        group = file.create_group("model_weights")
        for key, text in said.items():
            group.attrs[key] = file.attrs[key] = text
        group.attrs["layer_names"] = [name.encode()]
        held = group.create_group(name)
        held.attrs["weight_names"] = [each.encode() for each in arrays]
        for each, array in arrays.items():
            held[each] = array
    return path


def test_file_of_keras_2_read_as_one_of_keras_3_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        **{"name": "gru_1", "units": 4, "recurrent_activation": "hard_sigmoid"},
        **{"activation": "tanh", "reset_after": False, "batch_input_shape": [None, 6, 3]},
    }
    arrays = {"kernel:0": draw(3, 12), "recurrent_kernel:0": draw(4, 12), "bias:0": draw(12)}
    layer = {"class_name": "GRU", "config": config}
    path = old_file(tmp_path / "m.h5", layer, arrays, keras_version="2.2.4", backend="tensorflow")
    assert (distance(path) or 0.0) <= 1e-13
    parse = KerasVersion.parse
    newer = classmethod(lambda cls, *said: replace(parse(*said), major=3, minor=0))
    monkeypatch.setattr(KerasVersion, "parse", newer)
    assert (distance(path) or 0.0) > 1e-6


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
def test_convolution_turned_for_the_wrong_backend_is_noticed(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        **{"name": "c", "nb_filter": 4, "filter_length": 3, "border_mode": "valid", "bias": True},
        **{"subsample_length": 1, "activation": "linear", "batch_input_shape": [None, 6, 2]},
    }
    end = ":0" if backend == "tensorflow" else ""
    arrays = {f"c_W{end}": draw(3, 1, 2, 4), f"c_b{end}": draw(4)}
    if backend == "theano":
        arrays["c_W"] = draw(4, 2, 3, 1)
    layer = {"class_name": "Convolution1D", "config": config}
    path = old_file(tmp_path / "m.h5", layer, arrays, keras_version="1.2.2")
    assert distance(path) is not None
    assert (distance(path) or 0.0) <= 1e-13
    other = {"theano": "tensorflow", "tensorflow": "theano"}[backend]
    monkeypatch.setattr(hdf5_model, "_backend_of_keras_1", lambda *given: other)
    assert (distance(path) or 0.0) > 1e-3
