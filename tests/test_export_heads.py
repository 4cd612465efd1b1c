"""Exports of a GRUNet that answers with values or labels, or at every step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_export import answer, expected

from grulight.checkpoint_files.reader import FORMAT
from grulight.exporting import keras_layers, prediction_modules
from grulight.exporting.export import export
from grulight.exporting.signature import signature_of
from grulight.exporting.subject import subject_of
from grulight.exporting.verification import distance
from grulight.heads import ValueHead
from grulight.training.classifier import GRUClassifier

UNITS: dict[str, Any] = {"target_mean": [500.0, -5.3], "target_scale": [30.1, 0.013]}
STANDARD: dict[str, Any] = {"mean": [0.1, 2.0, -3.0], "scale": [0.1, 2.0, 0.003]}
KINDS: dict[str, dict[str, Any]] = {
    "values": {"num_classes": 0, "num_values": 2, **UNITS, **STANDARD},
    "values per step": {
        **{"num_classes": 0, "num_values": 2, "per_step": True, **UNITS},
        **{"num_layers": 2, "bidirectional": True, "dropout": 0.2},
    },
    "labels": {"num_classes": 0, "num_values": 4, "multilabel": True, "bias": False},
    "two classes per step": {"num_classes": 2, "per_step": True},
}
OUTPUTS = {
    "values": "predictions (batch, value)",
    "values per step": "predictions (batch, time, value)",
    "labels": "probabilities (batch, label)",
    "two classes per step": "probabilities (batch, time, class)",
}


def checkpoint(path: Path, **settings: Any) -> Path:
    torch.manual_seed(0)
    model = GRUClassifier(3, hidden_size=4, **settings)
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    content = {"hyper_parameters": dict(model.hparams), "state_dict": model.state_dict()}
    torch.save(content | {"grulight_format": FORMAT}, path)
    return path


def sequences(count: int, steps: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, steps, 3)).astype(np.float32)


QUICK = ((".onnx", "values per step"), (".pt2", "labels"), (".keras", "values"))
EVERY = [
    pytest.param(suffix, kind, marks=() if (suffix, kind) in QUICK else pytest.mark.slow)
    for suffix in (".onnx", ".pt2", ".keras")
    for kind in KINDS
]


@pytest.mark.parametrize(("suffix", "kind"), EVERY)
def test_every_answer_is_exported_as_the_checkpoint_predicts_it(
    tmp_path: Path, suffix: str, kind: str
) -> None:
    source, target = checkpoint(tmp_path / "c.ckpt", **KINDS[kind]), tmp_path / f"m{suffix}"
    takes_lengths = kind.endswith("per step") and suffix != ".keras"
    done = export(source, target, lengths=takes_lengths)
    one = suffix == ".keras" and kind.startswith("two")
    assert done.signature["output"] == (
        "probabilities (batch, time, 1: that of 1)" if one else OUTPUTS[kind]
    )
    values, lengths = sequences(4, 7), np.array([7, 1, 4, 2])
    ours = expected(source, values, lengths if takes_lengths else None)
    theirs = answer(target, values, *[lengths] * takes_lengths)
    size = float(np.abs(ours).max())
    assert distance(ours[..., 1:] if one else ours, theirs) < 1e-6 * size
    if takes_lengths:
        alone = expected(source, values[2:3, :4])
        assert distance(alone, theirs[2:3, :4]) < 1e-6 * size


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_names_of_a_file_are_those_of_its_answers(tmp_path: Path, suffix: str) -> None:
    names = {kind: subject_of(checkpoint(tmp_path / kind, **KINDS[kind]), False) for kind in KINDS}
    for kind, subject in names.items():
        assert signature_of(subject, suffix)["output"] == OUTPUTS[kind]
        assert len({*subject.input_names, *subject.outputs}) == 2


def without_units(head: object) -> None:
    assert isinstance(head, ValueHead)


def with_float32_units(head: ValueHead) -> tuple[np.ndarray, np.ndarray]:
    return np.array(head.mean, np.float32), np.array(head.scale, np.float32)


@pytest.mark.parametrize(
    ("suffix", "place", "fault"),
    [
        (".onnx", prediction_modules, without_units),
        (".pt2", prediction_modules, without_units),
        (".keras", keras_layers, without_units),
        (".keras", keras_layers, with_float32_units),
    ],
)
def test_values_in_other_units_than_the_checkpoints_are_refused(
    suffix: str,
    place: object,
    fault: Callable[..., object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = checkpoint(tmp_path / "c.ckpt", **KINDS["values"])
    if fault is without_units and place is prediction_modules:
        monkeypatch.setattr(place.Prediction, "predicted", lambda _, answers: answers)
    else:
        monkeypatch.setattr(place, "units_of", fault)
    with pytest.raises(Exception, match="differs from the checkpoint by"):
        export(source, tmp_path / f"m{suffix}")
    assert [each.name for each in tmp_path.iterdir()] == ["c.ckpt"]
