"""Precision, clipping, accumulation: Lightning's switches work on the built-in run."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from interrupting import assert_same_run, weights

Run = Callable[..., str]
RUN = Path("lightning_logs/version_0")


def losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file) if row["train_loss"]]


@pytest.mark.parametrize(
    ("precision", "close"),
    # measured: 2e-7 and 2e-4; the first moves with the first rounding
    [("64-true", 1e-5), ("bf16-mixed", 5e-3)],
)
def test_precision_changes_the_digits_and_not_the_training(
    run: Run, default_run: tuple[Path, str], precision: str, close: float
) -> None:
    run("fit", "--trainer.precision", precision)
    assert losses(RUN) == pytest.approx(losses(default_run[0]), rel=close)
    kind = torch.float64 if precision == "64-true" else torch.float32
    assert all(weight.dtype == kind for weight in weights(RUN).values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_half_precision_on_a_gpu(run: Run, default_run: tuple[Path, str]) -> None:
    run("fit", "--trainer.precision", "16-mixed", "--trainer.accelerator", "cuda")
    assert losses(RUN) == pytest.approx(losses(default_run[0]), rel=2e-2)


def test_deterministic_runs_are_the_same_bits(run: Run, default_run: tuple[Path, str]) -> None:
    run("fit", "--trainer.deterministic", "true")
    assert_same_run(RUN, default_run[0])
    torch.use_deterministic_algorithms(False)


def test_clipped_gradients_take_smaller_steps(run: Run, default_run: tuple[Path, str]) -> None:
    # SGD moves by the gradient itself, so that the first epoch can move by no more than this
    steps = ("--optimizer", "SGD", "--optimizer.lr", 1.0, "--trainer.max_epochs", 1)
    run("fit", *steps, "--trainer.gradient_clip_val", 1e-3)
    run("fit", *steps, "--trainer.gradient_clip_val", 1e-30)
    moved, start = (weights(Path(f"lightning_logs/version_{n}")) for n in (0, 1))
    distance = sum(float((moved[name] - start[name]).square().sum()) for name in moved) ** 0.5
    assert 0 < distance <= 25 * 1e-3 * (1 + 1e-5)


def test_accumulated_batches_are_one_larger_batch(run: Run) -> None:
    # 16 divides 800: no smaller last batch, whose mean would weigh as much as another's
    common = ("fit", "--trainer.precision", "64-true", "--trainer.max_epochs", 2)
    run(*common, "--data.batch_size", 32)
    run(*common, "--data.batch_size", 16, "--trainer.accumulate_grad_batches", 2)
    one, two = (weights(Path(f"lightning_logs/version_{n}")) for n in (0, 1))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-9, atol=1e-12)
