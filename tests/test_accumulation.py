"""Gradients of several batches make a step, in compiled calls as one by one, as in Lightning."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from interrupting import assert_same_run, weights
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from test_execution import fitted, spied

from grulight.data.datamodule import SequenceDataModule
from grulight.training import dropout_noise
from grulight.training.classifier import GRUClassifier

Run = Callable[..., str]
RUN = Path("lightning_logs/version_0")
TOGETHER = "--model.steps_per_execution"
BY_STEP = ("--lr_scheduler", "StepLR", "--lr_scheduler.step_size", 1, "--lr_scheduler.gamma", 0.9)


def steps_of(run: Path) -> int:
    held = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return int(held["global_step"])


def metrics(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: float(v or "nan") for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("options", "batches", "steps"),
    [
        # 25 batches an epoch: eight steps of three, and one of what is left
        (("--trainer.accumulate_grad_batches", 3, *BY_STEP), 25, 9),
        (
            (
                *("--trainer.accumulate_grad_batches", 7, "--data.batch_size", 30),
                *("--model.dropout", 0.3, "--model.num_layers", 2),
                *("--trainer.gradient_clip_val", 0.05),
            ),
            27,
            4,
        ),
        (("--trainer.accumulate_grad_batches", 40), 25, 1),
    ],
    ids=["rates by step", "dropout, a limit", "more than there are"],
)
@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_steps_are_those_of_one_by_one(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[object, ...],
    batches: int,
    steps: int,
    kernel: str,
) -> None:
    if kernel == "torch" and "--model.dropout" in options:
        pytest.skip("torch draws what it drops in another order")
    monkeypatch.setattr(dropout_noise, "_AT_ONCE", 25_000)  # numbers: a few batches
    common = ("--trainer.max_epochs", 2, "--trainer.precision", "64-true", *options)
    one = fitted(run, "one", *common, TOGETHER, 1)
    taken = spied(monkeypatch)
    together = () if kernel == "numba" else (TOGETHER, 2, "--model.kernel", "torch")
    several = fitted(run, "several", *common, *together)
    assert sum(taken) == (2 * batches if kernel == "numba" else 0)
    assert steps_of(one) == steps_of(several) == 2 * steps
    for name, expected in weights(one).items():
        torch.testing.assert_close(weights(several)[name], expected, rtol=1e-11, atol=1e-13)
    for row, expected_row in zip(metrics(several), metrics(one), strict=True):
        assert row == pytest.approx(expected_row, rel=1e-11, nan_ok=True)


def test_a_limit_on_steps_is_exact(run: Run) -> None:
    common = ("--trainer.accumulate_grad_batches", 2, "--trainer.max_steps", 17)
    assert steps_of(fitted(run, "limited", *common)) == 17
    few = fitted(run, "few", *common, TOGETHER, 2)
    for name, expected in weights("limited" / RUN).items():
        assert torch.equal(weights(few)[name], expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("limit", "steps"), [(1, 1), (1.0, 25)])
def test_a_limit_of_one_batch_is_one_and_not_all(limit: float, steps: int) -> None:
    data = SequenceDataModule("waves", seed=0)
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = Trainer(max_epochs=1, accelerator="cpu", limit_train_batches=limit, **silent)
    trainer.fit(GRUClassifier(**data.describe()), datamodule=data)
    assert trainer.global_step == steps


def test_a_run_goes_on_within_an_epoch_to_the_bit(run: Run) -> None:
    common = ("--trainer.accumulate_grad_batches", 3, "--trainer.max_epochs", 2)
    save = ("--checkpoint.every_n_steps", 3, "--checkpoint.keep", 99, *common)
    whole = fitted(run, "whole", *save)
    names = {path.stem for path in whole.rglob("step_*.ckpt")}
    assert names == {f"step_{step:09d}" for step in (3, 6, 12, 15)}
    run("fit", *save)
    for path in RUN.rglob("*.ckpt"):
        if path.stem != "step_000000012":
            path.unlink()
    run("fit", *save, "--ckpt_path", "auto")
    assert_same_run(RUN, whole)


def test_what_waits_in_a_checkpoint_of_other_sums_is_finished_one_by_one(run: Run) -> None:
    common = ("--trainer.max_epochs", 1, "--trainer.precision", "64-true")
    save = ("--checkpoint.every_n_steps", 3, "--checkpoint.keep", 99)
    run("fit", *common, *save, "--trainer.accumulate_grad_batches", 3)
    for path in RUN.rglob("*.ckpt"):
        if path.stem != "step_000000003":
            path.unlink()
    said = run("fit", *common, "--ckpt_path", "auto", "--trainer.accumulate_grad_batches", 2)
    # nine batches were taken; Lightning steps at the even ones that follow, and at the last
    assert steps_of(RUN) == 3 + 9
    assert "steps: one by one (the epoch that is resumed began so" in said


class ScheduleOfMine(GradientAccumulationScheduler):
    """A user's, of which all is Lightning's."""


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
@pytest.mark.parametrize("kind", [GradientAccumulationScheduler, ScheduleOfMine])
def test_a_schedule_says_how_many_batches_make_a_step(
    kind: type[GradientAccumulationScheduler], tmp_path: Path
) -> None:
    trainer = Trainer(
        max_epochs=3,
        callbacks=[kind({0: 1, 1: 5})],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(GRUClassifier(5, 3), datamodule=SequenceDataModule())
    assert trainer.global_step == 25 + 5 + 5
