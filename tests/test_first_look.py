"""What a newcomer sees first: names, the bar, and a page that praises no model for nothing."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer
from rich.console import Console

import grulight
from grulight.cli import main
from grulight.data.datamodule import SequenceDataModule
from grulight.heads import ClassHead, LabelHead, ValueHead
from grulight.trace.baseline import Baseline, baseline_of
from grulight.trace.progress import TerminalProgress
from grulight.trace.recorder import observe
from grulight.training.classifier import GRUClassifier

Run = Callable[..., str]


def test_the_package_lists_its_names_and_says_its_version() -> None:
    assert set(grulight.__all__) | {"__version__"} <= set(dir(grulight))
    assert grulight.__version__ == version("grulight")


def test_the_proof_has_a_command_that_no_file_of_the_users_hides() -> None:
    Path("parity.py").write_text("raise SystemExit('the wrong one')")
    command = Path(sys.executable).with_name("grulight-parity")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "check" in done.stdout


def metrics(loss: float, accuracy: float) -> dict[str, float]:
    return {"train_loss": loss, "train_accuracy": accuracy}


@pytest.mark.parametrize(("accuracy", "learns"), [(0.5, False), (0.3, False), (0.51, True)])
def test_naming_the_most_frequent_class_is_not_called_learning(
    accuracy: float, learns: bool
) -> None:
    best = Baseline("accuracy", 0.5, "no better than naming the most frequent class")
    said = observe(metrics(0.8, accuracy), metrics(0.9, 0.5), best)
    assert ("learning" in said) == learns
    assert ("no better than naming the most frequent class" in said) == (not learns)


def test_the_share_of_the_most_frequent_class_is_that_of_the_training_part() -> None:
    np.savez("a.npz", x=np.ones((6, 3, 2), "float32"), y=[0, 0, 0, 1, 1, 0])
    train = SequenceDataModule("a.npz", train_size=4).parts.train
    assert baseline_of(train, ClassHead(1)) == (
        *("accuracy", 0.75),
        "no better than naming the most frequent class",
    )
    assert baseline_of(train.part(0, 0), ClassHead(1)) is None


def test_without_reading_values_are_as_far_off_as_their_mean_and_padding_counts_nowhere() -> None:
    x, y = np.ones((3, 4, 2), "float32"), np.full((3, 4, 2), 1e9)
    y[0, :2], y[1, :1], y[2, :1] = [[0, 10], [2, 10]], [4, 20], [6, 40]
    np.savez("a.npz", x=x, y=y, lengths=[2, 1, 1])
    data = SequenceDataModule("a.npz", train_size=3, targets="values")
    found = baseline_of(data.parts.train, ValueHead(2, per_step=True))
    assert found == ("mae", (2 + 10) / 2, "mae no better than that of the mean")
    assert found.as_good_as({"train_mae": 6.0})
    assert not found.as_good_as({"train_mae": 5.9})


def test_without_reading_each_label_is_what_it_is_most_often() -> None:
    y = [[1, 0, 1], [1, 0, 0], [1, 1, 1], [1, 0, 0]]
    np.savez("a.npz", x=np.ones((4, 5, 2), "float32"), y=y)
    data = SequenceDataModule("a.npz", train_size=4, targets="labels")
    found = baseline_of(data.parts.train, LabelHead(3))
    assert found is not None
    assert found[:2] == ("accuracy", (1 + 0.75 + 0.5) / 3)


def page_of(run: Run, x: np.ndarray) -> str:
    np.savez("a.npz", x=x.astype("float32"), y=np.arange(100) % 10)
    run("fit", "--data.source", "a.npz", "--data.train_size", 80, "--trainer.max_epochs", 30)
    [page] = Path().rglob("trace.html")
    return page.read_text()


def test_a_model_that_learnt_nothing_is_not_said_to_tell_classes_apart(run: Run) -> None:
    page = page_of(run, np.ones((100, 3, 2)))  # nothing to tell them apart by
    [title] = re.findall(r"<h1>(.*?)</h1>", page)
    assert title == "A GRU that answers no better than one that reads nothing"
    assert "always naming the most frequent class would reach" in page.split("</h1>")[1][:600]


def test_a_model_that_learnt_tells_classes_apart(run: Run) -> None:
    x = np.zeros((100, 3, 10))
    x[np.arange(100), :, np.arange(100) % 10] = 5
    assert "<h1>A GRU tells 10 classes apart</h1>" in page_of(run, x)


class Seen(TerminalProgress):
    """Note what the bar is told to count."""

    def __init__(self) -> None:
        super().__init__(Console(file=StringIO(), force_terminal=True))
        self.counted: list[tuple[str, int, float | None]] = []

    def _begin(self, title: str, total: float | None, done: int = 0) -> None:
        self.counted.append((title, done, total))
        super()._begin(title, total, done)


@pytest.mark.parametrize(("steps", "expected"), [(20, ("epochs", 1, 2)), (1, ("epoch 2/2", 0, 20))])
def test_the_bar_counts_what_moves(steps: int, expected: tuple[str, int, int]) -> None:
    bar, data = Seen(), SequenceDataModule(train_size=700, val_size=60)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        callbacks=[bar],
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(GRUClassifier(**data.describe(), steps_per_execution=steps), datamodule=data)
    assert bar.counted[-1] == expected


@pytest.mark.parametrize(
    ("y", "dense", "counts"),
    [
        (np.arange(20) % 3, "dense + softmax", "sequences"),
        (np.arange(100).reshape(20, 5) % 2, "dense + sigmoid", "steps"),
        (np.eye(3)[np.arange(20) % 3] + np.eye(3)[0] > 0, "dense + sigmoid", ""),
        (np.arange(20) / 7, "dense ", ""),
    ],
    ids=["classes", "classes per step", "labels", "values"],
)
def test_the_stages_and_scores_speak_of_what_is_answered(
    run: Run, y: np.ndarray, dense: str, counts: str
) -> None:
    np.savez("a.npz", x=np.random.default_rng(0).normal(size=(20, 5, 2)), y=y)
    kind = ["--data.targets", "labels"] if y.dtype == bool else []
    printed = run("fit", "--data.source", "a.npz", "--trainer.max_epochs", 1, *kind)
    assert len(re.findall(rf"^{re.escape(dense)}\s+\d+ ×", printed, re.M)) == 1
    assert (re.findall(r"^class +precision +recall +(\w+)", printed, re.M) or [""]) == [counts]


def test_numbers_as_labels_of_a_table_are_told_how_they_are_predicted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("a.csv").write_text("sequence,label,a\nx,0.5,1\ny,1.5,2\n")
    assert main(["fit", "--data.source", "a.csv"]) == 2
    assert "--data.targets values predicts numbers" in capsys.readouterr().err


def test_an_empty_cell_of_a_wide_table_names_the_layout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("a.csv").write_text("sequence,label,a_0,a_1\nx,up,1,\ny,down,2,3\n")
    assert main(["fit", "--data.source", "a.csv"]) == 2
    assert "--data.layout wide" in capsys.readouterr().err


@pytest.mark.parametrize("wish", [None, "active"], ids=["by default", "as the user has it"])
def test_torchs_threads_wait_without_spinning(wish: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": wish} if wish else {})
    command = [sys.executable, "-m", "grulight", "export", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = re.findall(r"OMP_WAIT_POLICY\W+(\w+)", done.stderr)  # as torch's OpenMP read it
    assert set(found) == {"ACTIVE" if wish else "PASSIVE"}
