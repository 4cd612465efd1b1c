"""What users put into the Trainer works, or is refused in one line before anything is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from grulight.cli import main
from grulight.commands.lightning_messages import one_line_errors
from grulight.errors import InputError
from grulight.training.unprofiled import spare_profiler

Run = Callable[..., str]
FAST = ("--trainer.max_epochs", 1)


class Remote(Logger):
    """A logger that has no directory, as those of web services."""

    name, version = "remote", "abc"

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with open("remote.txt", "a") as file:
            file.write(f"{sorted(metrics)}\n")


class OwnMetric(Callback):
    """Log a metric that grulight does not know."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.callback_metrics["mine"] = torch.tensor(0.5)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert "epoch" not in printed.out  # nothing was trained
    [line] = printed.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--trainer.callbacks", name, "--trainer.callbacks.monitor", "nonsense"],
            f"{name} watches nonsense, which this training does not have. Watch one of train_loss,",
        )
        for name in ("EarlyStopping", "ModelCheckpoint")
    ]
    + [
        (
            ["--lr_scheduler", "ReduceLROnPlateau", "--lr_scheduler.monitor", "train_mae"],
            "--lr_scheduler watches train_mae",
        ),
        (["--trainer.callbacks", "LearningRateFinder"], "--optimizer.lr"),
        (["--trainer.callbacks", "BatchSizeFinder"], "--data.batch_size"),
        (
            ["--trainer.callbacks=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.1"],
            "Leave it out",
        ),
        (["--trainer.val_check_interval", "70"], "must be less than or equal to the number"),
        (["--trainer.accumulate_grad_batches", "0"], "accumulate_grad_batches 0: expected at"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert says in refused(capsys, "fit", *arguments)


def test_an_optimizer_that_cannot_train_says_so_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fit", "--optimizer", "SparseAdam"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "SparseAdam does not support dense gradients" in line


def test_a_mistake_of_ours_stays_one() -> None:
    def mistaken() -> None:
        raise ValueError("no setting")

    with pytest.raises(ValueError, match="no setting") as caught, one_line_errors():
        mistaken()
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize("metric", ["train_loss", "train_accuracy", "val_loss", "val_accuracy"])
def test_every_metric_of_a_training_can_be_watched(run: Run, metric: str) -> None:
    watch = ("--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", metric)
    assert "test (" in run("fit", *FAST, "--data.val_size", 0.1, *watch)


def test_a_metric_that_another_callback_logs_can_be_watched(run: Run) -> None:
    callbacks = [f"--trainer.callbacks+={__name__}.OwnMetric"]
    callbacks += ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=mine"]
    assert "test (" in run("fit", *FAST, *callbacks)


def test_overfitting_sees_the_same_batches_in_each_epoch(run: Run) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(160, 6, 3)).astype("float32")
    np.savez("random.npz", x=x, y=generator.integers(0, 2, 160))
    printed = run(
        *("fit", "--data.source", "random.npz", "--data.train_size", 1.0),
        *("--data.batch_size", 16, "--trainer.overfit_batches", 1, "--model.hidden_size", 32),
        *("--optimizer", "KerasAdam", "--optimizer.lr", 0.02, "--trainer.max_epochs", 60),
    )
    assert "  1.0000    " in printed  # random labels, learnt by heart


def test_a_schedule_without_an_optimizer_is_one_of_keras_adam(run: Run) -> None:
    schedule = ("--lr_scheduler", "ExponentialLR", "--lr_scheduler.gamma", 1e-9)
    printed = run("fit", "--trainer.max_epochs", 3, *schedule)
    assert "hardly moves" in printed
    config = yaml.safe_load(Path("lightning_logs/version_0/config.yaml").read_text())
    assert config["optimizer"]["class_path"] == "grulight.KerasAdam"
    assert config["lr_scheduler"]["class_path"].endswith("ExponentialLR")


def test_a_logger_without_a_directory_is_beside_our_own(run: Run) -> None:
    for version in (0, 1):
        run("fit", *FAST, "--trainer.logger", f"{__name__}.Remote")
        directory = Path(f"lightning_logs/version_{version}")
        assert {"config.yaml", "metrics.csv", "checkpoints"} <= {
            path.name for path in directory.iterdir()
        }
    assert "train_loss" in Path("remote.txt").read_text()
    assert {path.name for path in Path().iterdir()} == {"lightning_logs", "remote.txt"}


def test_a_logger_with_a_directory_stays_alone(run: Run) -> None:
    for version in (0, 1):
        run("fit", *FAST, "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=.")
        assert Path(f"lightning_logs/version_{version}/checkpoints/last.ckpt").exists()
    assert not list(Path().rglob("*tfevents*"))


def test_a_profile_is_a_file_of_the_run(run: Run) -> None:
    printed = run("fit", *FAST, "--trainer.profiler", "simple")
    assert "fit-profile.txt" in printed
    profile = Path("lightning_logs/version_0/fit-profile.txt").read_text()
    assert "run_training_epoch" in profile
    assert "profile" not in run("fit", *FAST)


def test_only_a_profiler_that_does_nothing_is_spared() -> None:
    quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    idle, asked = Trainer(**quiet), Trainer(**quiet, profiler="simple")
    chosen = asked.profiler
    for trainer in (idle, asked):
        spare_profiler(trainer)
    assert idle.profiler.profile("this") is idle.profiler.profile("that")
    assert asked.profiler is chosen
