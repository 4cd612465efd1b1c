"""A checkpoint's classifier predicts without torch, and is a LightningModule all the same."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

import grulight
from grulight import GRUClassifier, InputError, SequenceDataModule
from grulight.checkpoint_files.plain_gru import read_plain_gru
from grulight.runs.checkpoint import load_classifier as whole
from grulight.runs.trained import _Predicting

STANDARD = {"mean": [0.5, -1.0, 2.0], "scale": [2.0, 0.5, 1.0]}
PLAIN: dict[str, dict[str, Any]] = {
    "three_classes": {"num_classes": 3},
    "two_classes": {"num_classes": 2, "class_names": ["down", "up"], **STANDARD},
    "a_class_for_each_step": {"num_classes": 4, "per_step": True},
    "labels": {"num_classes": 0, "num_values": 3, "multilabel": True},
    "values": {"num_classes": 0, "num_values": 2, "target_mean": [9.0, -3.0],
               "target_scale": [4.0, 0.1]},
    "no_biases_and_an_offset": {"num_classes": 3, "bias": False, "offset": [1e6, 0.0, 1.0]},
    "the_widest": {"num_classes": 3, "hidden_size": 256},
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "two_layers": {"num_layers": 2},
    "both_directions": {"bidirectional": True},
    "wider": {"hidden_size": 257},
    "torch": {"kernel": "torch"},
}
_PREDICTS = """
import sys
from pathlib import Path
import numpy as np
from grulight import load_classifier
classifier = load_classifier("model.ckpt")
np.save("answers.npy", classifier.predict_proba(np.load("values.npy"), np.load("lengths.npy")))
print([name for name in ("torch", "lightning", "numba") if name in sys.modules])
status = Path("/proc/self/status")  # a child's ru_maxrss may be its parent's
lines = status.read_text().splitlines() if status.exists() else []
print(next((line.split()[1] for line in lines if line.startswith("VmHWM")), 0))
"""


def written(path: Path, **settings: Any) -> Path:
    """Write the checkpoint of a classifier with random weights."""
    torch.manual_seed(3)
    model = GRUClassifier(3, **settings)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3)
    held = {"hyper_parameters": dict(model.hparams), "state_dict": model.state_dict()}
    torch.save({"grulight_format": 1, **held}, path)
    return path


def asked() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(5)
    return draw.normal(size=(40, 7, 3)), draw.integers(1, 8, 40)


@pytest.mark.parametrize("settings", PLAIN.values(), ids=PLAIN)
def test_light_answers_are_the_modules_bits(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = written(tmp_path / "model.ckpt", **settings)
    light, theirs = grulight.load_classifier(path), whole(path)
    assert type(light) is _Predicting
    for given in (asked(), asked()[:1]):
        ours = light.predict_proba(*given)
        assert type(light) is _Predicting
        np.testing.assert_array_equal(ours, theirs.predict_proba(*given))


def test_a_process_that_only_predicts_imports_neither_torch_nor_numba(tmp_path: Path) -> None:
    path = written(tmp_path / "model.ckpt", num_classes=3, **STANDARD)
    values, lengths = asked()
    np.save(tmp_path / "values.npy", values)
    np.save(tmp_path / "lengths.npy", lengths)
    theirs = whole(path).predict_proba(values, lengths)  # so that the kernel is kept
    done = subprocess.run(
        [sys.executable, "-c", _PREDICTS], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    imported, kilobytes = done.stdout.splitlines()
    assert imported == "[]"
    assert int(kilobytes) < 300_000
    np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), theirs)


@pytest.mark.parametrize("settings", OTHERS.values(), ids=OTHERS)
def test_another_network_is_read_whole(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = written(tmp_path / "model.ckpt", num_classes=3, **settings)
    assert read_plain_gru(path) is None
    assert type(grulight.load_classifier(path)) is GRUClassifier


def test_whatever_else_is_asked_of_it_it_is_the_module(tmp_path: Path) -> None:
    path = written(tmp_path / "model.ckpt", num_classes=3, class_names=["a", "b", "c"])
    theirs = whole(path)
    first, second, third, fourth, fifth = (grulight.load_classifier(path) for _ in range(5))
    path.unlink()
    assert isinstance(first, LightningModule)
    assert not isinstance(first, dict)
    assert not first.training
    assert type(first) is GRUClassifier
    assert second.class_names == ("a", "b", "c")
    assert "GRUNet" in repr(third)
    assert nn.Sequential(fourth)[0] is fourth
    for again in (copy.deepcopy(fifth), pickle.loads(pickle.dumps(fifth))):
        assert type(again) is GRUClassifier
        for name, weight in theirs.state_dict().items():
            assert torch.equal(weight, again.state_dict()[name])
    values, _ = asked()
    np.testing.assert_array_equal(fifth.predict_proba(values), theirs.predict_proba(values))
    assert torch.equal(grulight_logits(first, values), grulight_logits(theirs, values))


def grulight_logits(classifier: GRUClassifier, values: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return classifier(torch.from_numpy(values).float())


def test_a_trainer_takes_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values, _ = asked()
    data = SequenceDataModule(
        (values.astype(np.float32), np.arange(40) % 3), train_size=0.5, val_size=5
    )
    model = GRUClassifier(**data.describe(), hidden_size=4)
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, logger=False, **quiet)  # type: ignore[arg-type]
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint("model.ckpt")
    trained = grulight.load_classifier("model.ckpt")
    assert type(trained) is _Predicting
    [theirs], [ours] = trainer.test(model, data), trainer.test(trained, data)
    assert ours == theirs


def test_what_is_wrong_with_a_file_is_said_as_ever(tmp_path: Path) -> None:
    path = written(tmp_path / "model.ckpt", num_classes=3)
    held = torch.load(path)
    held["state_dict"]["network.head.bias"][1] = np.nan
    torch.save(held, path)
    with pytest.raises(InputError, match=r"network\.head\.bias is not finite"):
        grulight.load_classifier(path)
    held["hyper_parameters"]["hidden_size"] = 5
    torch.save(held, path)
    with pytest.raises(InputError, match="damaged checkpoint, its weights do not fit"):
        grulight.load_classifier(path)
    with pytest.raises(InputError, match="does not exist"):
        grulight.load_classifier(tmp_path / "none.ckpt")


@pytest.mark.parametrize("flag", [0x01, 0x20], ids=["encrypted", "patched"])
def test_a_flag_that_no_checkpoint_has_is_one_line(flag: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.ckpt", num_classes=3)
    held = bytearray(path.read_bytes())
    entry = held.rfind(b"PK\x01\x02", 0, held.rfind(b"/data/0"))
    held[entry + 8] |= flag
    path.write_bytes(held)
    with pytest.raises(InputError, match=path.name):
        grulight.load_classifier(path).predict_proba(np.zeros((1, 4, 3), np.float32))
