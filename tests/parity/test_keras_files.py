"""`parity check` of Keras files: opened by Keras, or rebuilt where it cannot open them."""

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from grulight.errors import InputError
from grulight.keras_files.layers import gru, layout
from grulight.keras_files.port import load_keras
from parity.control_findings import try_control
from parity.controls.negative_control import NegativeControl
from parity.keras_files.arrays import arrays_of
from parity.keras_files.check import ask, check_file, is_keras_file
from parity.keras_files.file_questions import FileQuestions
from parity.keras_files.inputs import inputs_of, masked_steps
from parity.keras_files.keras_open import their_model
from parity.keras_files.keras_witness import Witness
from parity.keras_files.layout import by_path
from parity.keras_files.opening_rules import untrusted
from parity.keras_files.ported_side import PortedSide
from parity.keras_files.wrong_ports import controls_for
from parity.question import Question
from parity.report.json_file import write_json
from parity.report.report import write_page
from parity.result import Result
from parity.rungs import judge, worst_of
from parity.sides.quiet import without_warnings

RNG = np.random.default_rng(2)
GATES = ("z", "r", "h")


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def legacy(
    path: Path, config: dict[str, Any], weights: dict[str, Any], version: str | None
) -> Path:
    """Write a file as Keras 1 and 2 do (KERAS_FACTS section 4.3)."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        if version is not None:
            group.attrs["keras_version"] = file.attrs["keras_version"] = version.encode()
            group.attrs["backend"] = b"tensorflow"
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, arrays in weights.items():
            held = group.create_group(layer)
            held.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in arrays]
            for name, array in arrays.items():
                held[f"{layer}/{name}:0"] = array
    return path


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of masked sequences as Keras 3 saves it, with biases that are not zero."""
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.Masking(0.5),
            keras.layers.Bidirectional(keras.layers.GRU(4)),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.set_weights([draw(*variable.shape) for variable in model.weights])
    path = tmp_path_factory.mktemp("keras") / "classifier.keras"
    with without_warnings():
        model.save(path)
    return path


@pytest.fixture(scope="module")
def of_keras_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that Keras 3.15 refuses: `time_major`; and that means otherwise: hard_sigmoid."""
    gru = {
        "name": "gru_1",
        "units": 4,
        "activation": "tanh",
        "recurrent_activation": "hard_sigmoid",
        "use_bias": True,
        "reset_after": False,
        "return_sequences": False,
        "time_major": False,
        "batch_input_shape": [None, 6, 3],
    }
    dense = {"name": "dense_1", "units": 1, "activation": "sigmoid", "use_bias": True}
    layers = [{"class_name": "GRU", "config": gru}, {"class_name": "Dense", "config": dense}]
    weights = {
        "gru_1": {"kernel": draw(3, 12), "recurrent_kernel": draw(4, 12), "bias": draw(12)},
        "dense_1": {"kernel": draw(4, 1), "bias": draw(1)},
    }
    config = {"class_name": "Sequential", "config": layers}
    return legacy(tmp_path_factory.mktemp("old") / "old.h5", config, weights, "2.2.4")


def keras_1(path: Path) -> Path:
    settings = {
        "name": "gru_1",
        "output_dim": 4,
        "activation": "tanh",
        "inner_activation": "hard_sigmoid",
        "return_sequences": True,
        "go_backwards": False,
        "input_dim": 3,
        "input_length": None,
    }
    shapes = {"W": (3, 4), "U": (4, 4), "b": (4,)}
    arrays = {f"{part}_{gate}": draw(*shape) for gate in GATES for part, shape in shapes.items()}
    config = {"class_name": "Sequential", "config": [{"class_name": "GRU", "config": settings}]}
    return legacy(path, config, {"gru_1": arrays}, None)


def worst_float64(result: Result) -> float:
    wide = [f.difference.relative for f in result.findings if f.dtype == "float64"]
    return max(wide)


def test_file_of_current_keras_is_the_same_as_keras_opens_it(current: Path, tmp_path: Path) -> None:
    result = check_file(current)
    assert result.verdict == "the same", result.reason
    assert result.theirs == f"Keras {keras.__version__}"
    assert {(f.rung, f.dtype) for f in result.findings} == {
        (rung, dtype) for rung in range(6) for dtype in ("float64", "float32")
    } - {(5, "float32")}
    assert worst_float64(result) <= 1e-13
    caught = {each.control.name: each.factor for each in result.controls}
    assert min(caught.values()) > 1e9
    assert {"gates not permuted", "bias rows swapped", "recurrent bias folded"} <= caught.keys()
    assert {"recurrent blocks transposed", "directions swapped", "padding read"} <= caught.keys()
    assert max(each.relative for each in result.implementations) <= 1e-14
    write_json(result, tmp_path / "r.json")
    write_page(result, tmp_path / "r.html")
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "the same"


def test_file_of_keras_2_is_the_same_as_its_model_rebuilt(of_keras_2: Path) -> None:
    result = check_file(of_keras_2)
    assert result.verdict == "the same", result.reason
    assert result.theirs == f"rebuilt in Keras {keras.__version__}"
    assert "hard_sigmoid" in result.notes[0]
    assert worst_float64(result) <= 1e-13
    caught = {each.control.name for each in result.controls}
    assert {"reset after", "new hard_sigmoid for an old file", "gates not permuted"} <= caught
    assert [each.name for each in result.implementations][1] == result.theirs
    assert all(each.relative <= 1e-14 for each in result.implementations)


def test_file_of_keras_1_is_the_same_as_its_model_rebuilt(tmp_path: Path) -> None:
    result = check_file(keras_1(tmp_path / "older.hdf5"))
    assert result.verdict == "the same", result.reason
    assert result.theirs == f"rebuilt in Keras {keras.__version__}"
    assert worst_float64(result) <= 1e-13


def test_broken_port_is_different_and_says_where(
    of_keras_2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "TORCH_GATES", ("z", "r", "h"))
    result = check_file(of_keras_2)
    assert result.verdict == "different"
    assert result.reason.startswith("rung 1 (forward, float64, own_weights")
    assert "output.dense_1" in result.reason
    wrong = {finding.rung for finding in worst_of(result.findings) if not finding.same}
    assert {1, 2, 3, 5} <= wrong


def test_array_in_the_wrong_place_is_different_at_rung_0(
    of_keras_2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpermuted(layer: layout.Arrays) -> layout.Arrays:
        parameters = layout.gru_to_torch(layer)
        parameters["bias_ih"] = layer["bias"]
        return parameters

    monkeypatch.setattr(gru, "gru_to_torch", unpermuted)
    model = load_keras(of_keras_2)
    side, graph = PortedSide(model), model.network.graph
    weights, config = arrays_of(of_keras_2, None, graph, by_path(model.keras_arrays()))
    inputs = inputs_of(graph, weights)
    theirs = Witness(their_model(of_keras_2, weights, graph, inputs, config)[0])
    result = Result("x", "", "ours", "theirs", {})
    ask(
        result, FileQuestions(graph, weights, inputs, side.trained).weights_question(), side, theirs
    )
    assert result.verdict == "different"
    assert "rung 0 (weights, float64, own_weights): weights.gru_1/bias at gate" in result.reason


def test_control_that_is_not_caught_leaves_the_verdict_open(of_keras_2: Path) -> None:
    result = Result("x", "", "ours", "theirs", {})
    side = PortedSide(load_keras(of_keras_2))
    question = random_question(side)
    missed = NegativeControl("nothing wrong", "", "network", lambda question, ours: ours(question))
    answer = side(question)
    controls = [*controls_for(question, side, answer), missed]
    result.controls = [try_control(control, question, side, answer) for control in controls]
    result.findings = judge(question, answer, answer)
    assert [each.control.name for each in result.controls if not each.caught] == ["nothing wrong"]
    assert len(controls) >= 7
    assert result.verdict == "could not tell"


def test_saturated_output_is_judged_by_what_float64_knows_of_it(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((3, 2)), keras.layers.GRU(3), keras.layers.Dense(1, activation="sigmoid")]
    )
    weights = [draw(*variable.shape) for variable in model.weights]
    model.set_weights([*weights[:-1], np.array([18.0])])  # puts out 1 - 1e-8
    with without_warnings():
        model.save(tmp_path / "saturated.keras")
    result = check_file(tmp_path / "saturated.keras")
    assert result.verdict == "the same", result.reason
    wider = {f.case for f in result.findings if f.dtype == "float64" and f.bound > 1e-12}
    assert wider == {"own_weights_random_inputs"}
    assert "float64 knows some arrays to" in " ".join(result.notes)


def random_question(side: PortedSide) -> Question:
    weights = by_path(side.model.keras_arrays())
    graph = side.model.network.graph
    return FileQuestions(graph, weights, inputs_of(graph, weights), side.trained).random(side)


def test_weights_alone_need_their_configuration(current: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(current) as archive:
        (tmp_path / "alone.weights.h5").write_bytes(archive.read("model.weights.h5"))
        (tmp_path / "model.json").write_bytes(archive.read("config.json"))
    with pytest.raises(InputError, match="holds weights but no configuration"):
        check_file(tmp_path / "alone.weights.h5")
    path, config = tmp_path / "alone.weights.h5", tmp_path / "model.json"
    model = load_keras(path, config=config)
    graph, like = model.network.graph, by_path(model.keras_arrays())
    weights, settings = arrays_of(path, config, graph, like)
    opened, reason = their_model(path, weights, graph, inputs_of(graph, weights), settings, True)
    assert (opened.name, reason) == (f"Keras {keras.__version__}", None)
    assert all(np.array_equal(opened.read[name], array) for name, array in like.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"not a model", "neither a .keras zip nor HDF5")],
)
def test_bad_file_is_refused_in_one_line(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        check_file(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "hidden",
    [
        {"class_name": "Lambda", "config": {}},
        {"class_name": "L2", "module": "os", "config": {}},
        {"class_name": "L2", "registered_name": "Mine>L2", "config": {}},
        {"class_name": "function", "module": "builtins", "config": "eval"},
    ],
)
def test_keras_is_not_given_files_with_unknown_names(hidden: dict[str, Any]) -> None:
    plain = {"class_name": "GRU", "config": {"kernel_regularizer": {"class_name": "L2"}}}
    assert untrusted({"config": {"layers": [plain]}, "compile_config": hidden}) is None
    plain["config"]["kernel_constraint"] = hidden
    assert "does not get to open" in str(untrusted({"config": {"layers": [plain]}}))


def test_keras_files_are_known_by_name_or_content(current: Path, tmp_path: Path) -> None:
    (tmp_path / "unnamed").write_bytes(current.read_bytes())
    (tmp_path / "text").write_text("x")
    names = ["missing.h5", "unnamed", "text", "missing.ckpt"]
    assert [is_keras_file(tmp_path / name) for name in names] == [True, True, False, False]


def test_masks_leave_every_row_a_step_and_have_holes_and_both_paddings() -> None:
    masked = masked_steps((5, 9))
    assert not masked[0].any()
    assert masked[1, -1]
    assert not masked[1, 0]
    assert masked[2, 3]
    assert not masked[2, [0, -1]].any()
    assert masked[3, 0]
    assert not masked.all(axis=1).any()
    assert not masked_steps((5, 1)).any()
