"""Checkpoints of short epochs wait in memory, and hold what Lightning would have dumped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupting import strike
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback

from grulight.checkpoint_files.reader import read_checkpoint
from grulight.cli import main
from grulight.data.datamodule import SequenceDataModule
from grulight.runs.saving import epoch_checkpoint, repeated_dump
from grulight.training.classifier import GRUClassifier

Run = Callable[..., str]
CHECKPOINTS = Path("lightning_logs/version_0/checkpoints")
FIT = ("fit", "--trainer.max_epochs", "4", "--data.train_size", "200")
OPTIONS = {
    "default": (),
    "steps of all kinds": (
        *("--model.num_layers", 2, "--model.dropout", 0.2, "--data.val_size", 0.2),
        *("--optimizer", "SGD", "--optimizer.lr", 0.1, "--optimizer.momentum", 0.9),
        *("--lr_scheduler", "StepLR", "--lr_scheduler.step_size", 2),
        *("--trainer.accumulate_grad_batches", 2),
    ),
    "one by one, stopped early": (
        *("--model.steps_per_execution", 1, "--data.val_size", 0.2),
        *("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_loss"),
        *("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.monitor=val_loss"),
    ),
    "16 bits": ("--trainer.precision", "bf16-mixed"),
}


class Marks(Callback):
    """Puts the epoch into each checkpoint, in both ways that Lightning has."""

    epoch = -1

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self.epoch = trainer.current_epoch

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def on_save_checkpoint(self, trainer: Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["marked"] = self.epoch


@pytest.fixture(autouse=True)
def waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let all checkpoints wait but the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(epoch_checkpoint, "_PAUSE", 1e9)


def assert_equal(ours: Any, theirs: Any, where: str = "checkpoint") -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            assert_equal(ours[key], theirs[key], f"{where}, {key}")
    elif isinstance(theirs, list | tuple):
        assert type(ours) is type(theirs), where
        for at, each in enumerate(theirs):
            assert_equal(ours[at], each, f"{where}, {at}")
        assert len(ours) == len(theirs), where
    elif isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype, where
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_against_a_dump_of_lightnings(
    options: tuple[object, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def both(trainer: Trainer, before: dict[str, Any]) -> dict[str, Any]:
        ours = repeated_dump.dump_again(trainer, before)
        found.append((ours, repeated_dump.copied(dumped(trainer))))
        return ours

    def dumped(trainer: Trainer) -> dict[str, Any]:
        return trainer._checkpoint_connector.dump_checkpoint(weights_only=False)

    monkeypatch.setattr(epoch_checkpoint, "dump_again", both)
    run(*FIT, *options)
    assert [theirs["epoch"] for _, theirs in found] == [1, 2, 3]
    for ours, theirs in found:
        assert list(ours) == list(theirs)
        assert_equal(ours, theirs)


def test_what_waits_is_written_as_of_its_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    def written(root: str) -> list[dict[str, Any]]:
        # three steps into the third epoch, while the second waits
        command = [*FIT, "--trainer.default_root_dir", root, "--model.steps_per_execution", "1"]
        with pytest.raises(SystemExit):
            main([*command, *strike([17], "SIGUSR1")])
        names = ("last.ckpt", "best.ckpt")
        return [read_checkpoint(Path(root) / CHECKPOINTS / name) for name in names]

    monkeypatch.setattr(repeated_dump, "_KNOWN", (*repeated_dump._KNOWN, "interrupting"))
    ours = written("ours")
    monkeypatch.setattr(epoch_checkpoint, "only_known", lambda trainer: False)
    theirs = written("theirs")
    assert ours[0]["epoch"] == 1
    for own, their in zip(ours, theirs, strict=True):
        for each in (own, their):
            del each["callbacks"]  # which have the paths of the two runs
        assert_equal(own, their)


def test_what_a_function_adds_is_that_of_the_epoch(tmp_path: Path) -> None:
    def mark(trainer: Trainer, _: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["marked"] = trainer.current_epoch

    function = LambdaCallback(on_save_checkpoint=mark)
    trainer = Trainer(accelerator="cpu", callbacks=[function], default_root_dir=tmp_path)
    trainer.strategy.connect(GRUClassifier(5, 3))
    trainer.datamodule = SequenceDataModule()
    assert not repeated_dump.only_known(trainer)
    trainer.callbacks.remove(function)
    assert repeated_dump.only_known(trainer)


def test_what_a_users_callback_adds_is_that_of_the_epoch(run: Run) -> None:
    run(*FIT, f"--trainer.callbacks+={__name__}.{Marks.__name__}")
    held = read_checkpoint(CHECKPOINTS / "last.ckpt")
    assert held["marked"] == held["callbacks"]["Marks"]["epoch"] == 3
