"""A training stops when it no longer gets better, and its best weights are tested."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from grulight.cli import main
from grulight.runs.early_stopping import StopEarly
from grulight.runs.seeds import checkpoints_of

Run = Callable[..., str]
LAST = "lightning_logs/version_{}/checkpoints/last.ckpt"
BEST = "lightning_logs/version_{}/checkpoints/best.ckpt"


@pytest.fixture
def noise() -> tuple[object, ...]:
    """Return options of a training on labels that mean nothing: validation gets worse soon."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(160, 6, 3)).astype("float32")
    np.savez("noise.npz", x=x, y=generator.integers(0, 2, 160))
    return (
        *("fit", "--data.source", "noise.npz", "--data.val_size", 40, "--optimizer.lr", 0.02),
        *("--model.dropout", 0.2, "--trainer.max_epochs", 30, "--early_stopping", "val_loss"),
    )


def held(path: str) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def same(ours: str, theirs: str) -> bool:
    a, b = held(ours), held(theirs)
    return all(torch.equal(a[name], b[name]) for name in b)


def test_it_stops_and_the_best_checkpoint_is_tested(
    run: Run, noise: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(*noise, "--early_stopping.patience", 3)
    epochs = torch.load(LAST.format(0), weights_only=True)["epoch"] + 1
    best = torch.load(BEST.format(0), weights_only=True)["epoch"] + 1
    assert epochs == best + 3 < 30
    assert f"stopped early, after epoch {epochs}" in printed
    assert f"tested: best.ckpt, after epoch {best} of {epochs}" in printed
    data = ("--data.source", "noise.npz", "--data.val_size", 40)
    again = run("test", "--ckpt_path", BEST.format(0), *data)
    scores = printed[printed.index("test (") : printed.index("files")]
    assert scores in again
    assert scores not in run("test", "--ckpt_path", LAST.format(0), *data)


def test_a_continued_run_stops_where_an_uninterrupted_one_does(
    run: Run, noise: tuple[object, ...]
) -> None:
    patience = ("--early_stopping.patience", 3)
    run(*noise, *patience)
    run(*noise, *patience, "--trainer.max_epochs", 2)
    run(*noise, *patience, "--ckpt_path", LAST.format(1))
    assert same(LAST.format(2), LAST.format(0))


def test_a_run_that_has_stopped_stays_so_until_it_is_to_wait_longer(
    run: Run, noise: tuple[object, ...]
) -> None:
    run(*noise, "--early_stopping.patience", 3)
    before = Path(LAST.format(0)).read_bytes()
    printed = run(*noise, "--early_stopping.patience", 3, "--ckpt_path", "auto")
    assert "stopped early" in printed
    assert "tested: best.ckpt" in printed
    assert Path(LAST.format(0)).read_bytes() == before
    run(*noise, "--early_stopping.patience", 5, "--ckpt_path", "auto")
    assert Path(LAST.format(0)).read_bytes() != before


def test_the_best_is_the_largest_of_what_is_to_grow(run: Run, noise: tuple[object, ...]) -> None:
    printed = run(*noise, "--early_stopping", "val_accuracy", "--trainer.max_epochs", 4)
    assert "is the highest" in printed
    assert StopEarly("val_r2").maximizes
    assert not StopEarly("val_rmse").maximizes
    assert StopEarly("mine", mode="max").maximizes


def test_without_validation_the_last_weights_are_tested(run: Run) -> None:
    fast = ("fit", "--trainer.max_epochs", 2)
    assert "tested: last.ckpt, after epoch 2" in run(*fast)
    unsaved = ("--trainer.logger", "false", "--trainer.enable_checkpointing", "false")
    assert "tested: the weights after epoch 2" in run(*fast, *unsaved)


def test_seeds_average_what_was_tested(run: Run, noise: tuple[object, ...]) -> None:
    run(*noise, "--seeds", 2, "--trainer.max_epochs", 4)
    run_of_seeds = Path("lightning_logs/version_0")
    assert [path.name for path in checkpoints_of(run_of_seeds)] == ["best.ckpt"] * 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--early_stopping", "val_loss"], "Set --data.val_size"),
        (["--early_stopping", "val_bogus", "--data.val_size", "0.1"], "Watch one of train_loss"),
        (["--early_stopping=val_loss", "--data.val_size=9", "--trainer.limit_val_batches=0"],
         "no validation part"),
        (["--early_stopping=val_loss", "--data.val_size=9", "--trainer.max_epochs=2",
          "--trainer.check_val_every_n_epoch=3"], "watches val_loss in 2 epochs"),
        (["--lr_scheduler=ReduceLROnPlateau", "--lr_scheduler.monitor=val_loss",
          "--data.val_size=9", "--trainer.check_val_every_n_epoch=2"], "after each of 5 epochs"),
        (["--early_stopping"], "expected a metric"),
        (["--early_stopping.patience", "3"], "name a metric to watch"),
        (["--early_stopping", "train_loss", "--early_stopping.patience", "0"], "at least 1"),
        (["--early_stopping", "train_loss", "--early_stopping.min_delta", "-1"], "at least 0"),
        (["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_loss",
          "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=train_loss"],
         "EarlyStopping watches val_loss"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_is_not_there_is_not_watched(
    capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["fit", *options]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert says in printed.err
    assert "epoch" not in printed.out
