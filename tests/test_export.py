import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from grulight.checkpoint_files.reader import FORMAT
from grulight.commands.export import run
from grulight.data.batches import Batch
from grulight.errors import InputError
from grulight.exporting import (
    keras_layers as plans,
)
from grulight.exporting import (
    keras_model,
    prediction_modules,
)
from grulight.exporting import (
    traceable_gru as grus,
)
from grulight.exporting.export import export
from grulight.exporting.verification import distance, without_advice
from grulight.keras_files.port import load_keras
from grulight.runs.checkpoint import load_classifier
from grulight.runs.ported_checkpoint import write_checkpoint
from grulight.training.classifier import GRUClassifier

Array = NDArray[Any]
SUFFIXES = (".onnx", ".pt2", ".keras")
FEATURES = 5
KINDS: dict[str, dict[str, Any]] = {
    "one_way": {},
    "stacked_bidirectional": {"num_layers": 2, "bidirectional": True, "dropout": 0.2},
    "binary_standardised": {
        "num_classes": 2,
        "bias": False,
        "mean": [0.1, 2.0, -3.0, 4.0, 57.0],
        "scale": [0.1, 2.0, 0.003, 4.0, 33.0],
    },
}
PADDED = "stacked_bidirectional"  # exported with lengths where the format takes them


def checkpoint(path: Path, num_classes: int = 3, **settings: Any) -> Path:
    """Write a checkpoint with random weights and biases."""
    torch.manual_seed(0)
    names = ["rises", "falls", "stands"][:num_classes]
    model = GRUClassifier(FEATURES, num_classes, 4, class_names=names, **settings)
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    content = {"hyper_parameters": dict(model.hparams), "state_dict": model.state_dict()}
    torch.save(content | {"grulight_format": FORMAT}, path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Path, Path]]:
    """Export a kind to a format once; return the checkpoint and the file."""
    folder = tmp_path_factory.mktemp("exports")

    def once(kind: str, suffix: str) -> tuple[Path, Path]:
        source, target = folder / f"{kind}.ckpt", folder / f"{kind}{suffix}"
        if not source.exists():
            checkpoint(source, **KINDS[kind])
        if not target.exists():
            export(source, target, lengths=kind == PADDED and suffix != ".keras")
        return source, target

    return once


def answer(path: Path, *inputs: Array) -> Array:
    """Open an exported file without grulight and ask it."""
    with without_advice():
        if path.suffix == ".onnx":
            import onnxruntime

            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            names = [each.name for each in session.get_inputs()]
            return session.run(None, dict(zip(names, inputs, strict=True)))[0]
        if path.suffix == ".pt2":
            opened = torch.export.load(path).module()
            return opened(*map(torch.from_numpy, inputs)).detach().numpy()
        import keras

        [values] = inputs
        return np.asarray(keras.ops.convert_to_numpy(keras.models.load_model(path)(values)))


def expected(source: Path, values: Array, lengths: Array | None = None) -> Array:
    valid = None if lengths is None else torch.from_numpy(lengths)
    with torch.no_grad():
        batch = Batch(torch.from_numpy(values), valid, None)
        return load_classifier(source).predict_step(batch).numpy()


def sequences(kind: str, count: int, steps: int) -> Array:
    draws = np.random.default_rng(5).normal(size=(count, steps, FEATURES))
    settings = KINDS.get(kind, {})
    raw = draws * settings.get("scale", 1.0) + settings.get("mean", 0.0)
    return np.asarray(raw, np.float32)


@pytest.mark.parametrize(
    "kind", [pytest.param("one_way", marks=pytest.mark.slow), PADDED, "binary_standardised"]
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exported_file_predicts_what_the_checkpoint_predicts(
    exported: Callable[[str, str], tuple[Path, Path]], suffix: str, kind: str
) -> None:
    source, target = exported(kind, suffix)
    for count, steps in ((4, 11), (1, 2), (9, 1)):
        values = sequences(kind, count, steps)
        padded = kind == PADDED and suffix != ".keras"
        lengths = (np.full(count, steps),) if padded else ()
        ours, theirs = expected(source, values), answer(target, values, *lengths)
        if kind.startswith("binary") and suffix == ".keras":
            ours = ours[:, 1:]
        assert distance(ours, theirs) < 1e-6


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_lengths_hide_the_padding(
    exported: Callable[[str, str], tuple[Path, Path]], suffix: str
) -> None:
    source, target = exported(PADDED, suffix)
    values, lengths = sequences(PADDED, 4, 6), np.array([6, 1, 4, 2])
    theirs = answer(target, values, lengths)
    assert distance(expected(source, values, lengths), theirs) < 1e-6
    for row, length in enumerate(lengths):
        alone = expected(source, values[row : row + 1, :length])
        assert distance(alone, theirs[row : row + 1]) < 1e-6


def test_onnx_file_names_its_axes_and_classes(
    exported: Callable[[str, str], tuple[Path, Path]],
) -> None:
    import onnx

    _, target = exported(PADDED, ".onnx")
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    axes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert axes == {
        "values": ["batch", "time", FEATURES],
        "lengths": ["batch"],
        "probabilities": ["batch", 3],
    }
    notes = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert notes["class_names"] == ["rises", "falls", "stands"]
    assert notes["feature_names"] == list("01234")
    assert notes["grulight_version"]
    assert [each.version for each in model.opset_import if not each.domain] == [grus.OPSET]


@pytest.mark.slow
def test_pt2_file_opens_where_grulight_is_not(
    exported: Callable[[str, str], tuple[Path, Path]],
) -> None:
    source, target = exported("one_way", ".pt2")
    values = sequences("one_way", 2, 5)
    np.save("values.npy", values)
    script = (
        "import sys, numpy, torch; sys.modules['grulight'] = None; notes = {'class_names.json': ''}"
        f"; model = torch.export.load({str(target)!r}, extra_files=notes).module()"
        "; found = model(torch.from_numpy(numpy.load('values.npy'))).detach().numpy()"
        "; numpy.save('found.npy', found); print(notes['class_names.json'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == ["falls", "rises", "stands"]
    assert distance(expected(source, values), np.load("found.npy")) < 1e-6


def test_keras_file_has_the_weights_bit_for_bit(
    exported: Callable[[str, str], tuple[Path, Path]],
) -> None:
    source, target = exported("stacked_bidirectional", ".keras")
    ours = load_classifier(source).network.state_dict()
    theirs = load_keras(target).keras_arrays()
    [first, second, dense] = [held for held in theirs.values() if held]
    for number, layer in enumerate((first, second)):
        for way, suffix in (("forward_layer", ""), ("backward_layer", "_reverse")):
            stacked = ours[f"gru.weight_ih_l{number}{suffix}"].numpy()
            r, z, h = np.split(stacked, 3)
            kernel = np.concatenate([z, r, h]).T
            np.testing.assert_array_equal(kernel, layer[way]["kernel"])
    np.testing.assert_array_equal(ours["head.weight"].numpy().T, dense["kernel"])


def _wrong_onnx(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(grus, "ONNX_GATES", grus.TORCH_GATES)


def _wrong_pt2(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(prediction_modules.Prediction, "predicted", lambda _, logits: logits.sigmoid())


def _wrong_keras(patch: pytest.MonkeyPatch) -> None:
    right = plans.network_to_keras

    def swapped(state: dict[str, Array]) -> dict[str, Array]:
        arrays = right(state)
        return {name: a[::-1] if name.endswith("/bias") else a for name, a in arrays.items()}

    patch.setattr(plans, "network_to_keras", swapped)


def _damaged_keras(patch: pytest.MonkeyPatch) -> None:
    def opened(array: Array, other: Array) -> bool:
        return array is other

    patch.setattr(keras_model.np, "array_equal", opened)


@pytest.mark.parametrize(
    ("suffix", "fault", "reason"),
    [
        (".onnx", _wrong_onnx, "differs from the checkpoint by .*, where rounding explains"),
        (".pt2", _wrong_pt2, "differs from the checkpoint by .*, where rounding explains"),
        (".keras", _wrong_keras, "differs from the checkpoint by .*, where rounding explains"),
        (".keras", _damaged_keras, "bit for bit"),
    ],
)
def test_wrong_export_is_refused_and_leaves_the_folder_as_it_was(
    suffix: str,
    fault: Callable[[pytest.MonkeyPatch], None],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = checkpoint(tmp_path / "c.ckpt"), tmp_path / f"m{suffix}"
    target.write_text("an earlier export")
    fault(monkeypatch)
    with pytest.raises(InputError, match=reason) as refusal:
        export(source, target)
    assert str(refusal.value).startswith(f"{target}: ")
    assert "\n" not in str(refusal.value)
    assert target.read_text() == "an earlier export"
    assert {each.name for each in tmp_path.iterdir()} == {"c.ckpt", target.name}


def test_what_an_exporter_cannot_express_is_one_line_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator:\n  sort_of_gru")

    monkeypatch.setattr(torch.export, "export", unable)
    with pytest.raises(InputError, match=r"cannot express .*no such operator: sort_of_gru") as info:
        export(checkpoint(tmp_path / "c.ckpt"), tmp_path / "m.onnx")
    assert "\n" not in str(info.value)
    assert [each.name for each in tmp_path.iterdir()] == ["c.ckpt"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.tflite", {}, r"m\.tflite: expected a name that ends in \.onnx, \.pt2, \.keras\."),
        ("m", {}, r"m: expected a name that ends in"),
        ("m.keras", {"lengths": True}, "takes no lengths"),
        ("folder.onnx", {}, "is a directory"),
    ],
)
def test_wrong_name_or_option_is_one_line(
    name: str, options: dict[str, bool], message: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match=message):
        export(checkpoint(tmp_path / "c.ckpt"), tmp_path / name, **options)
    assert {each.name for each in tmp_path.iterdir()} == {"c.ckpt", "folder.onnx"}


@pytest.mark.parametrize(
    ("suffix", "package", "name"),
    [
        (".onnx", "onnx", "onnx"),
        (".onnx", "onnxscript", "onnx"),
        (".onnx", "onnxruntime", "onnx"),
        (".keras", "keras", "parity"),
    ],
)
def test_missing_package_is_named_with_its_cure(
    suffix: str, package: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    cure = rf"needs {package} .*pip install 'grulight\[{name}\]'"
    with pytest.raises(InputError, match=cure):
        export(checkpoint(tmp_path / "c.ckpt"), tmp_path / f"m{suffix}")
    assert [each.name for each in tmp_path.iterdir()] == ["c.ckpt"]


def test_command_prints_what_was_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    source = checkpoint(tmp_path / "c.ckpt", num_classes=2)
    run([str(source), "-o", str(tmp_path / "m.pt2"), "--lengths"])
    printed = capsys.readouterr().out
    assert (tmp_path / "m.pt2").is_file()
    for words in (
        "values (batch, time, feature), lengths (batch)",
        "probabilities (batch, class)",
        "1 × scan",
        "41 sequences, in batches of 1 × 1, 2 × 3, 33 × 8, 5 × 40 steps",
        "largest difference",
        "rounding explains",
    ):
        assert words in printed


def test_help_has_a_line_per_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"])
    printed = capsys.readouterr().out
    assert "usage: grulight export" in printed
    assert all(option in printed for option in ("checkpoint", "--output", "--lengths"))


def ported(folder: Path, *layers: Callable[[Any], Any], steps: int | None = None) -> Path:
    """Write a checkpoint ported from a Keras model of these layers, with random weights."""
    import keras

    rng = np.random.default_rng(2)
    with without_advice():
        model = keras.Sequential(
            [keras.Input((steps, FEATURES)), *(make(keras) for make in layers)]
        )
        model.set_weights([rng.uniform(0.1, 0.9, w.shape) for w in model.get_weights()])
        model.save(folder / "theirs.keras")
    write_checkpoint(load_keras(folder / "theirs.keras"), folder / "ported.ckpt")
    return folder / "ported.ckpt"


MASKED = (
    lambda keras: keras.layers.Masking(),
    lambda keras: keras.layers.Bidirectional(
        keras.layers.GRU(3, return_sequences=True, recurrent_activation="hard_sigmoid"),
        merge_mode="sum",
    ),
    lambda keras: keras.layers.BatchNormalization(),
    lambda keras: keras.layers.GRU(2, reset_after=False, go_backwards=True),
    lambda keras: keras.layers.Dense(1, activation="sigmoid"),
)


def test_ported_model_comes_back_to_keras_bit_for_bit(tmp_path: Path) -> None:
    import keras

    export(ported(tmp_path, *MASKED), tmp_path / "ours.keras")
    with without_advice():
        ours, theirs = (
            keras.models.load_model(tmp_path / f"{n}.keras") for n in ("ours", "theirs")
        )
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    assert all(map(np.array_equal, ours.get_weights(), theirs.get_weights()))
    values = sequences("ported", 3, 6)
    values[1:, 4:] = 0
    np.testing.assert_array_equal(ours(values), theirs(values))


def test_ported_layers_keep_what_only_training_and_masks_show(tmp_path: Path) -> None:
    import keras

    source = ported(
        tmp_path,
        lambda keras: keras.layers.Masking(0.5),
        lambda keras: keras.layers.BatchNormalization(momentum=0.7, epsilon=1e-4),
        lambda keras: keras.layers.GRU(2, return_sequences=True, zero_output_for_mask=True),
        lambda keras: keras.layers.GRU(2),
        lambda keras: keras.layers.Dense(3, activation="softmax"),
    )
    export(source, tmp_path / "ours.keras")
    with without_advice():
        ours, theirs = (
            keras.models.load_model(tmp_path / f"{n}.keras") for n in ("ours", "theirs")
        )
    for their in theirs.layers:
        our = ours.get_layer(their.name).get_config()
        assert {**their.get_config(), "dtype": our["dtype"]} == our


def test_ported_layer_outside_the_table_is_refused_by_name(tmp_path: Path) -> None:
    source = ported(
        tmp_path,
        lambda keras: keras.layers.RNN(
            keras.layers.StackedRNNCells([keras.layers.GRUCell(3), keras.layers.GRUCell(2)])
        ),
        lambda keras: keras.layers.Dense(3, activation="softmax"),
    )
    with pytest.raises(InputError, match=r"'rnn' is a 'RNN'; a \.keras file is written of"):
        export(source, tmp_path / "ours.keras")
    assert not (tmp_path / "ours.keras").exists()


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_ported_model_is_exported_with_its_mask(suffix: str, tmp_path: Path) -> None:
    source = ported(
        tmp_path,
        lambda keras: keras.layers.Masking(),
        lambda keras: keras.layers.GRU(2, reset_after=False),
        lambda keras: keras.layers.Dense(3, activation="softmax"),
    )
    export(source, tmp_path / f"ours{suffix}")
    values = sequences("ported", 3, 6)
    values[1:, 4:] = 0
    theirs = answer(tmp_path / f"ours{suffix}", values)
    assert distance(expected(source, values), theirs) < 1e-6


def test_ported_model_is_exported_with_its_standardisation(tmp_path: Path) -> None:
    source = ported(
        tmp_path, lambda keras: keras.layers.GRU(2), lambda keras: keras.layers.Dense(3)
    )
    content = torch.load(source, weights_only=True)
    given = {name: KINDS["binary_standardised"][name] for name in ("mean", "scale")}
    content["hyper_parameters"] |= given
    content["state_dict"] |= {name: torch.tensor(numbers) for name, numbers in given.items()}
    torch.save(content, source)
    export(source, tmp_path / "ours.onnx")
    values = sequences("binary_standardised", 3, 6)
    assert distance(expected(source, values), answer(tmp_path / "ours.onnx", values)) < 1e-6
    far = expected(source, values + 1)
    assert distance(far, expected(source, values)) > 1e-3
