"""Ported models of every kind, exported; Keras' own answers to the original are the oracle."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from grulight.commands.export import run
from grulight.errors import InputError
from grulight.exporting import onnx_pt2
from grulight.exporting.export import export
from grulight.exporting.inputs import Input, described
from grulight.exporting.keras_build import Builder
from grulight.exporting.subject import subject_of
from grulight.exporting.trials import edges, trials
from grulight.exporting.verification import require_same, without_advice
from grulight.keras_files.port import load_keras
from grulight.runs.ported_checkpoint import write_checkpoint

Array = NDArray[Any]
SEQ = {"return_sequences": True}
STEPS = 6
CLOSE = 3e-6  # of float32, in two programs


def sequential(keras: Any, *layers: Any, steps: int | None = None, ids: bool = False) -> Any:
    start = keras.Input((steps,) if ids else (steps, 3), name="x", dtype="int32" if ids else None)
    return keras.Sequential([start, *layers])


def two_inputs(keras: Any) -> Any:
    k = keras.layers
    series, static = keras.Input((None, 3), name="series"), keras.Input((2,), name="static")
    joined = k.Concatenate()([k.GRU(4)(series), static])
    return keras.Model([series, static], k.Dense(1, name="demand")(joined))


def two_outputs(keras: Any) -> Any:
    k, x = keras.layers, keras.Input((None, 3), name="x")
    y = k.GRU(4, **SEQ)(k.Masking()(x))
    kind = k.Dense(3, activation="softmax", name="kind")(k.GRU(2)(y))
    return keras.Model(x, [kind, k.Dense(2, name="course")(y)])


def shared(keras: Any) -> Any:
    k, gru = keras.layers, keras.layers.GRU(4)
    left, right = keras.Input((None, 3), name="left"), keras.Input((None, 3), name="right")
    apart = k.Subtract()([gru(left), gru(right)])
    return keras.Model([left, right], k.Dense(1, activation="sigmoid", name="same")(apart))


def residual(keras: Any) -> Any:
    k, x = keras.layers, keras.Input((None, 3), name="x")
    masked = k.Masking()(x)
    added = k.LayerNormalization()(k.Add()([masked, k.GRU(3, **SEQ)(masked)]))
    pooled = k.GlobalAveragePooling1D()(added + 1.0)
    return keras.Model(x, k.Dense(4, activation="softmax", name="kind")(pooled))


def states(keras: Any) -> Any:
    k = keras.layers
    x, h = keras.Input((None, 3), name="x"), keras.Input((4,), name="h")
    return keras.Model([x, h], k.GRU(4, **SEQ, return_state=True, name="gru")(x, initial_state=h))


def inside(keras: Any) -> Any:
    k, x = keras.layers, keras.Input((None, 3), name="x")
    inner = keras.Sequential([keras.Input((None, 3)), k.GRU(4, **SEQ), k.Dense(3)], name="inner")
    return keras.Model(x, k.Dense(1, name="out")(k.GRU(2)(inner(x))))


MODELS: dict[str, Callable[[Any], Any]] = {
    "value": lambda keras: sequential(keras, keras.layers.GRU(4), keras.layers.Dense(1)),
    "values": lambda keras: sequential(keras, keras.layers.GRU(4), keras.layers.Dense(3), steps=6),
    "labels_per_step": lambda keras: sequential(
        keras,
        keras.layers.Masking(),
        keras.layers.GRU(4, **SEQ, reset_after=False),
        keras.layers.TimeDistributed(keras.layers.Dense(3, activation="softmax")),
    ),
    "several_labels": lambda keras: sequential(
        keras, keras.layers.GRU(4), keras.layers.Dense(3, activation="sigmoid")
    ),
    "ids": lambda keras: sequential(
        keras,
        keras.layers.Embedding(9, 3, mask_zero=True),
        keras.layers.Bidirectional(keras.layers.GRU(4)),
        keras.layers.Dense(1, activation="sigmoid"),
        ids=True,
    ),
    "convolution": lambda keras: sequential(
        keras,
        keras.layers.Conv1D(4, 3, activation="relu"),
        keras.layers.MaxPooling1D(2),
        keras.layers.GRU(3),
        keras.layers.Dense(1),
    ),
    "stacked": lambda keras: sequential(
        keras,
        keras.layers.Bidirectional(keras.layers.GRU(4, **SEQ), merge_mode="sum"),
        keras.layers.Dropout(0.2),
        keras.layers.BatchNormalization(),
        keras.layers.GRU(3),
        keras.layers.Dense(2),
    ),
    "two_inputs": two_inputs,
    "two_outputs": two_outputs,
    "shared_layer": shared,
    "residual": residual,
    "states_in_and_out": states,
    "model_inside": inside,
}
QUICK = {(".onnx", "ids"), (".onnx", "two_outputs"), (".pt2", "two_inputs"), (".keras", "residual")}
TABLE = [
    pytest.param(suffix, name, marks=() if (suffix, name) in QUICK else pytest.mark.slow)
    for name in MODELS
    for suffix in (".onnx", ".pt2", ".keras")
]


def theirs(name: str) -> Any:
    """Return the model in Keras, with random weights."""
    import keras

    rng = np.random.default_rng(2)
    with without_advice():
        model = MODELS[name](keras)
        drawn = (rng.uniform(-0.9, 0.9, each.shape) for each in model.get_weights())
        pairs = zip(model.weights, drawn, strict=True)
        model.set_weights([abs(a) + 0.1 if "variance" in w.path else a for w, a in pairs])
    return model


def ported(name: str, folder: Path) -> tuple[Any, Path]:
    """Return the model in Keras, and a checkpoint of it."""
    model = theirs(name)
    return model, checkpoint(model, folder)


def checkpoint(model: Any, folder: Path) -> Path:
    with without_advice():
        model.save(folder / "theirs.keras")
    write_checkpoint(load_keras(folder / "theirs.keras"), folder / "ported.ckpt")
    return folder / "ported.ckpt"


def batch(model: Any, rows: int, steps: int) -> list[Array]:
    """Draw what the model takes; sequences end early, one at once, one has a hole."""
    rng, found = np.random.default_rng(rows), []
    for each in model.inputs:
        shape = (rows, *(steps if size is None else size for size in each.shape[1:]))
        whole = each.dtype == "int32"
        values = rng.integers(1, 9, shape) if whole else rng.normal(size=shape)
        if whole or len(shape) == 3:
            values[0, shape[1] // 2 :], values[-1, 1:2] = 0, 0
        found.append(values.astype(np.int64 if whole else np.float32))
    return found


def asked(path: Path, given: list[Array]) -> list[Array]:
    """Open an exported file without grulight and ask it."""
    with without_advice():
        if path.suffix == ".onnx":
            import onnxruntime

            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            names = [each.name for each in session.get_inputs()]
            return list(session.run(None, dict(zip(names, given, strict=True))))
        if path.suffix == ".pt2":
            answer = torch.export.load(path).module()(*map(torch.from_numpy, given))
            several = answer if isinstance(answer, tuple) else (answer,)
            return [each.detach().numpy() for each in several]
        import keras

        return in_keras(keras.models.load_model(path), given)


def in_keras(model: Any, given: list[Array]) -> list[Array]:
    import keras

    with without_advice():
        answer = model(given if len(given) > 1 else given[0], training=False)
        return [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(answer)]


@pytest.mark.parametrize(("suffix", "name"), TABLE)
def test_exported_file_answers_what_keras_answers(suffix: str, name: str, tmp_path: Path) -> None:
    model, source = ported(name, tmp_path)
    target = tmp_path / f"ours{suffix}"
    export(source, target)
    for rows, steps in ((5, 12), (2, STEPS)):
        given = batch(model, rows, steps)
        expected, found = in_keras(model, given), asked(target, given)
        assert [each.shape for each in found] == [each.shape for each in expected]
        for our, their in zip(found, expected, strict=True):
            np.testing.assert_allclose(our, their, rtol=0, atol=CLOSE)
    if suffix == ".onnx":
        _require_names(target, model)


def _require_names(path: Path, model: Any) -> None:
    import onnx

    held = onnx.load(path)
    onnx.checker.check_model(held, full_check=True)
    assert [each.name for each in held.graph.input] == [each.name for each in model.inputs]
    names = [each.name for each in held.graph.output]
    assert names[0] == model.outputs[0]._keras_history.operation.name
    assert len(set(names)) == len(model.outputs)
    for each, tensor in zip(model.inputs, held.graph.input, strict=True):
        dims = tensor.type.tensor_type.shape.dim
        assert dims[0].dim_param == "batch"
        sizes = [dim.dim_value if not dim.dim_param else None for dim in dims]
        assert sizes[1:] == list(each.shape[1:])


@pytest.mark.slow
def test_lengths_hide_the_padding_of_a_ported_model(tmp_path: Path) -> None:
    model, source = ported("labels_per_step", tmp_path)
    export(source, tmp_path / "ours.onnx", lengths=True)
    [values] = batch(model, 3, STEPS)
    lengths = np.array([6, 2, 4])
    [found] = asked(tmp_path / "ours.onnx", [values, lengths])
    values[np.arange(STEPS) >= lengths[:, None]] = 0
    np.testing.assert_allclose(found, in_keras(model, [values])[0], rtol=0, atol=CLOSE)


def test_lengths_are_refused_where_there_are_several_inputs(tmp_path: Path) -> None:
    _, source = ported("two_inputs", tmp_path)
    with pytest.raises(InputError, match="--lengths is for models that read one sequence"):
        export(source, tmp_path / "ours.pt2", lengths=True)
    assert not (tmp_path / "ours.pt2").exists()


def test_outputs_in_another_order_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source = ported("shared_layer", tmp_path)
    right = onnx_pt2.PortedPrediction.forward

    def turned(self: onnx_pt2.PortedPrediction, *inputs: torch.Tensor) -> Any:
        return right(self, *inputs[::-1])

    monkeypatch.setattr(onnx_pt2.PortedPrediction, "forward", turned)
    with pytest.raises(InputError, match="differs from the checkpoint by"):
        export(source, tmp_path / "ours.pt2")
    assert not (tmp_path / "ours.pt2").exists()


def test_keras_model_that_forgets_its_masks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source = ported("residual", tmp_path)
    right = Builder._called

    def unmasked(self: Builder, plan: Any, layer: Any, call: Any, seen: Any) -> Any:
        answer = right(self, plan, layer, replace(call, masks=()), seen)
        return self.keras.ops.add(answer, 0) if plan.kind == "Masking" else answer

    monkeypatch.setattr(Builder, "_called", unmasked)
    with pytest.raises(InputError, match="differs from the checkpoint by"):
        export(source, tmp_path / "ours.keras")


def test_open_loop_of_an_lstm_is_refused_with_what_to_do(tmp_path: Path) -> None:
    import keras

    with without_advice():
        model = sequential(keras, keras.layers.LSTM(2, name="memory"), keras.layers.Dense(1))
    with pytest.raises(InputError, match=r"'memory' is a LSTM, which is written step by step"):
        export(checkpoint(model, tmp_path), tmp_path / "ours.pt2")


def test_trials_hold_what_real_data_hold(tmp_path: Path) -> None:
    _, source = ported("ids", tmp_path)
    subject = subject_of(source, lengths=False)
    assert [(each.name, each.kind, each.ids) for each in subject.inputs] == [("x", "ids", 9)]
    random, edge = trials(subject), edges(subject)
    assert list(random) == [(1, 1), (2, 3), (33, 8), (5, 40)]
    drawn = random[33, 8]["x"]
    assert drawn.dtype == np.int64
    assert {0, 8} <= set(drawn.flat)
    padded = edge["padded on the left, throughout, and with holes"]["x"]
    assert (padded[0] == 0).all()
    assert (padded[1, :-1] == 0).all()
    assert (edge["far above"]["x"] == 8).all()


def test_inputs_are_told_by_who_reads_them(tmp_path: Path) -> None:
    model, _ = ported("two_outputs", tmp_path)
    graph = load_keras(tmp_path / "theirs.keras").network.graph
    assert described(graph) == (Input("x", (None, None, 3), padding=0.0),)
    assert model.inputs[0].name == "x"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.5])
def test_a_number_that_is_none_on_the_other_side_is_refused(wrong: float) -> None:
    ours = [np.zeros((2, 1), np.float32)]
    with pytest.raises(InputError, match="differs from the checkpoint by"):
        require_same(ours, ours, [np.array([[0], [wrong]], np.float32)])
    with pytest.raises(InputError, match="differs from the checkpoint by"):
        require_same([np.array([[0], [wrong]], np.float32)], ours, ours)


def test_what_neither_side_has_as_a_number_hides_nothing() -> None:
    ours, off = np.array([np.nan, 1, 2], np.float32), np.array([np.nan, 1, 2.1], np.float32)
    assert require_same([ours], [ours], [ours])[0] == 0
    with pytest.raises(InputError, match="differs from the checkpoint by"):
        require_same([ours], [ours], [off])
    with pytest.raises(InputError, match="differs from the checkpoint by"):
        require_same([ours], [ours], [ours[:2]])


def test_command_names_inputs_and_outputs_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    _, source = ported("states_in_and_out", tmp_path)
    run([str(source), "-o", str(tmp_path / "m.pt2")])
    printed = capsys.readouterr().out
    for words in (
        "x (batch, time, 3), h (batch, 4)",
        "gru (batch, time, 4), gru_1 (batch, 4)",
        "41 sequences, in batches of 1 × 1, 2 × 3, 33 × 8, 5 × 40 steps",
        "and at the edge",
    ):
        assert words in printed
    notes = {"output_names.json": ""}
    torch.export.load(tmp_path / "m.pt2", extra_files=notes)
    assert json.loads(notes["output_names.json"]) == ["gru", "gru_1"]
