"""What is logged at the ends of epochs waits for a second, and none of it is lost."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interrupting import strike
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from grulight.cli import main
from grulight.runs import metrics_csv
from grulight.runs.checkpoint import WholeCheckpointIO
from grulight.runs.saving import epoch_checkpoint
from grulight.runs.tensorboard_events import TensorBoardEvents

Run = Callable[..., str]
RUN = Path("lightning_logs/version_0")


def rows(name: str) -> list[dict[str, str]]:
    with (RUN / name).open(newline="") as file:
        return list(csv.DictReader(file))


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    board = EventAccumulator(str(directory)).Reload()
    return {
        tag: [(each.step, each.value) for each in board.Scalars(tag)]
        for tag in board.Tags()["scalars"]
    }


@pytest.fixture(autouse=True)
def _forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_csv, "_EVERY", 1e9)


@pytest.mark.parametrize("ends", ["by itself", "interrupted"])
def test_every_epoch_is_in_every_log(ends: str) -> None:
    command = ("fit", "--model.steps_per_execution", "1", "--data.val_size", "0.1")
    interrupted = ends == "interrupted"
    assert main([*command, *(strike([70], "SIGINT") if interrupted else ())]) == 130 * interrupted
    epochs = range(3 if interrupted else 5)
    metrics, timing, board = rows("metrics.csv"), rows("timing.csv"), scalars(RUN)
    trained = [row for row in metrics if row["train_loss"]]
    assert [row["epoch"] for row in trained] == list(map(str, epochs))
    assert [row["epoch"] for row in timing] == list(map(str, epochs))
    for name in ("train_loss", "val_loss"):
        expected = [(int(row["step"]), float(row[name])) for row in trained]
        assert board[name] == [(step, pytest.approx(value)) for step, value in expected]
    assert len(board["timing/seconds"]) == len(epochs)


def test_a_checkpoint_has_the_rows_of_before_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found, save = [], WholeCheckpointIO.save_checkpoint

    def look(self: WholeCheckpointIO, checkpoint: dict[str, Any], path: Path, **rest: Any) -> None:
        step = checkpoint["global_step"]
        found.append((step, sum(int(row["step"]) < step for row in rows("metrics.csv"))))
        save(self, checkpoint, path, **rest)

    monkeypatch.setattr(WholeCheckpointIO, "save_checkpoint", look)
    monkeypatch.setattr(epoch_checkpoint, "_PAUSE", 0.0)
    run("fit", "--checkpoint.every_n_steps", 40)
    assert len(found) >= 6
    assert all(count == step // 25 for step, count in found)


def test_charts_of_several_lines_are_written_too(tmp_path: Path) -> None:
    logger = TensorBoardEvents(tmp_path, "runs", 0)
    logger.log_metrics({"a": 1.0, "b": 2}, 3)
    logger.log_metrics({"both": {"one": 1.0, "two": 2.0}}, 3)
    logger.finalize("success")
    assert scalars(tmp_path / "runs/version_0") | scalars(tmp_path / "runs/version_0/both_one") == {
        "a": [(3, 1.0)],
        "b": [(3, 2.0)],
        "both": [(3, 1.0)],
    }
