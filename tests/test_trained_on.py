"""A checkpoint knows what the columns of its data are called, and does not read others' data."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from grulight.checkpoint_files.reader import read_checkpoint
from grulight.cli import main
from grulight.errors import InputError

Run = Callable[..., str]
COLUMNS = ("case", "when", "kind", "a", "b")


@pytest.fixture
def checkpoint(run: Run) -> Path:
    """Return a checkpoint trained on a table whose columns have names of their own."""
    write("train.csv", shuffle=False)
    run(
        *("fit", "--trainer.max_epochs", 1, "--data.source", "train.csv", "--data.sequence=case"),
        *("--data.time=when", "--data.label=kind"),
    )
    return Path("lightning_logs/version_0/checkpoints/last.ckpt")


def write(name: str, *, shuffle: bool, columns: tuple[str, ...] = COLUMNS) -> None:
    generator = np.random.default_rng(0)
    rows = [
        [f"s{i}", t, "xy"[i % 2], t * (i % 2), generator.normal()]
        for i in range(20)
        for t in range(5)
    ]
    if shuffle:
        generator.shuffle(rows)
        rows.sort(key=lambda row: int(row[0][1:]))  # the sequences in their order
    with open(name, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def predicted(run: Run, checkpoint: Path, *arguments: object) -> str:
    run("predict", "--ckpt_path", checkpoint, "--data.source", *arguments)
    return Path("predictions.csv").read_text()


def test_columns_that_nobody_names_are_those_of_the_training(run: Run, checkpoint: Path) -> None:
    write("shuffled.csv", shuffle=True)
    assert predicted(run, checkpoint, "shuffled.csv") == predicted(run, checkpoint, "train.csv")
    assert "test (4 seq" in run("test", "--ckpt_path", checkpoint, "--data.source", "shuffled.csv")
    run("trace", checkpoint, "--data", "shuffled.csv")


def test_columns_that_the_user_names_count(run: Run, checkpoint: Path) -> None:
    write("other.csv", shuffle=True, columns=("id", "at", "label", "a", "b"))
    named = ("--data.sequence=id", "--data.time=at", "--data.label=label")
    assert predicted(run, checkpoint, "other.csv", *named) == predicted(
        run, checkpoint, "train.csv"
    )
    Path("own.yaml").write_text("data: {sequence: id, time: at}")
    predicted(run, checkpoint, "other.csv", "--config=own.yaml")


@pytest.mark.parametrize("command", ["test", "validate", "predict", "trace"])
def test_data_that_nobody_names_are_not_guessed(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, command: str
) -> None:
    moved = checkpoint.rename("moved.ckpt")  # away from its config.yaml
    capsys.readouterr()
    arguments = [str(moved)] if command == "trace" else ["--ckpt_path", str(moved)]
    assert main([command, *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "but on train.csv" in line
    assert not Path("predictions.csv").exists()


def test_an_older_checkpoint_knows_no_names(run: Run, checkpoint: Path) -> None:
    held = torch.load(checkpoint, weights_only=True)
    held["SequenceDataModule"] = {"seed": 8}
    torch.save(held, "older.ckpt")
    named = ("--data.sequence=case", "--data.time=when")
    older = predicted(run, Path("older.ckpt"), "train.csv", *named)
    assert older == predicted(run, checkpoint, "train.csv")


def test_a_checkpoint_names_no_file_that_is_opened(run: Run, checkpoint: Path) -> None:
    held = torch.load(checkpoint, weights_only=True)
    expected = predicted(run, checkpoint, "train.csv")
    evil = {"source": "waves", "test_source": "waves", "labels_file": "secret.npy"}
    for key in ("columns", "reading"):
        held["SequenceDataModule"][key] |= evil
    torch.save(held, "evil.ckpt")
    assert predicted(run, Path("evil.ckpt"), "train.csv") == expected
    assert "test (4 seq" in run("test", "--ckpt_path", "evil.ckpt", "--data.source", "train.csv")
    run("trace", "evil.ckpt", "--data", "train.csv")


def test_what_a_checkpoint_says_of_its_data_is_checked(checkpoint: Path) -> None:
    held = torch.load(checkpoint, weights_only=True)
    reading = held["SequenceDataModule"]["reading"]
    wrong = {"split": "best", "window": 0, "train_size": "0.8", "split_seed": -1, "layout": 3}
    for name, value in wrong.items():
        held["SequenceDataModule"]["reading"] = reading | {name: value}
        torch.save(held, "wrong.ckpt")
        with pytest.raises(InputError, match=rf"SequenceDataModule\.reading\.{name}"):
            read_checkpoint("wrong.ckpt")
