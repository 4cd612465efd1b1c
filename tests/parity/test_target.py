from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer

from grulight.data.sequences import Sequences
from grulight.errors import InputError
from grulight.model import GRUNet
from grulight.training.classifier import GRUClassifier
from parity.cases import STEPS
from parity.target import load_target, target_of


def sequences(count: int, path: Path | None = None) -> Sequences:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(count, 4, 2)) * 5 + 3).astype(np.float32)
    y = np.arange(count) % 3
    if path is not None:
        np.savez(path, x=x, y=y)
    lengths = np.full(count, 4)
    return Sequences(x, lengths, y, ("0", "1", "2"), ("f0", "f1"), y.astype(str), "made up")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory as ``grulight fit`` leaves it."""
    sequences(40, tmp_path / "data.npz")
    settings = {"source": str(tmp_path / "data.npz"), "train_size": 30, "standardize": True}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": settings}))
    from grulight.data.datamodule import SequenceDataModule

    data = SequenceDataModule(**settings)
    task = GRUClassifier(
        2,
        3,
        class_names=data.class_names,
        feature_names=data.feature_names,
        mean=data.mean,
        scale=data.scale,
    )
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(task)
    trainer.save_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    return tmp_path


def test_the_runs_own_data_are_found_and_standardised(run: Path) -> None:
    target = load_target(str(run / "checkpoints" / "last.ckpt"))
    assert target.data["values"].shape == (30, 4, 2)
    assert target.held_out["values"].shape == (10, 4, 2)
    np.testing.assert_allclose(target.data["values"].mean(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(target.data["values"].std(axis=(0, 1)), 1, atol=1e-6)


def test_damaged_config_is_named_with_the_way_out(run: Path) -> None:
    (run / "config.yaml").write_text("data: [")
    with pytest.raises(InputError, match=r"config\.yaml: cannot be read; name the data with"):
        load_target(str(run / "checkpoints" / "last.ckpt"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda w: w.pop("network.head.bias"),
            r"last\.ckpt: is a damaged checkpoint, .*network\.head\.bias",
        ),
        (lambda w: w["network.head.bias"].fill_(torch.nan), "head.bias is not finite"),
    ],
    ids=["a weight is missing", "a weight is NaN"],
)
def test_spoilt_weights_are_named(
    run: Path, spoil: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    spoil(checkpoint["state_dict"])
    torch.save(checkpoint, path)
    with pytest.raises(InputError, match=message):
        load_target(str(path))


def test_hash_follows_every_weight() -> None:
    torch.manual_seed(0)
    target = target_of(GRUNet(2, 3), "net", sequences(40))
    weights = {name: array.copy() for name, array in target.weights.items()}
    assert replace(target, weights=weights).sha256 == target.sha256
    weights["head.bias"][0] += 1e-3
    assert replace(target, weights=weights).sha256 != target.sha256


def test_what_was_left_out_is_said() -> None:
    target = target_of(GRUNet(2, 3, dropout=0.5), "net", sequences(1000))
    assert len(target.data["values"]) == 800
    assert "first 800 of 1000" in target.notes[0]
    assert "Dropout (0.5) is off" in target.notes[1]


@pytest.mark.parametrize("stride", [1, 7, 25, 1000])
def test_the_last_weights_are_always_kept(stride: int) -> None:
    questions = target_of(GRUNet(2, 3), "net", sequences(40)).questions(stride)
    for question in questions:
        steps = {"training": 10, "steps": STEPS}.get(question.task)
        if steps:
            assert steps % question.settings["every"] == 0
            assert question.settings["every"] >= min(stride, steps)
