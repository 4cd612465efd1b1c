"""Several processes train what one does: torchrun here, Slurm in test_slurm.py."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from interrupting import assert_same_run, environment, strike, weights

from grulight.errors import InputError
from grulight.runs.launchers import launched_as

# neither the batches (32 of 799) nor the test part (201) can be shared evenly
UNEVEN = (
    "fit", "--trainer.precision", "64-true", "--trainer.accelerator", "cpu",
    "--data.train_size", 799,
)  # fmt: skip
RUN = Path("lightning_logs/version_0")


def fit(*options: object, launcher: tuple[str, ...] = (sys.executable,)) -> str:
    """Run `grulight fit` in processes of its own, which must succeed; return what they said."""
    command = [*launcher, "-m", "grulight", *map(str, (*UNEVEN, *options))]
    fresh = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    result = subprocess.run(command, env=environment() | fresh, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def torchrun(*options: str) -> tuple[str, ...]:
    module = "torch.distributed.run"
    return (sys.executable, "-m", module, "--standalone", "--nproc-per-node=2", *options)


def assert_close_runs(ours: Path, theirs: Path) -> None:
    """Check that weights agree to 1e-12, relative, and metrics to 1e-10."""
    expected = weights(theirs)
    for name, found in weights(ours).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-12, atol=1e-14)
    for row, other in zip(*map(metrics, (ours, theirs)), strict=True):
        assert row == pytest.approx(other, rel=1e-10, nan_ok=True)


def metrics(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value or "nan") for name, value in row.items()} for row in rows]


@pytest.mark.slurm
def test_two_processes_train_and_count_as_one(run: Callable[..., str]) -> None:
    run(*UNEVEN, "--trainer.default_root_dir", "one")
    printed = fit("--trainer.devices", 2, "--trainer.default_root_dir", "two")
    assert printed.count("test (201 sequences)") == 1
    assert_close_runs("two" / RUN, "one" / RUN)
    assert [path.name for path in Path("two/lightning_logs").iterdir()] == ["version_0"]


@pytest.mark.slurm
def test_torchrun_replaces_a_killed_process() -> None:
    fit("--trainer.default_root_dir", "whole", launcher=torchrun())
    struck = strike([60], "SIGKILL", rank=1)
    often = ("--ckpt_path", "auto", "--checkpoint.every_n_steps", 10)
    fit(*struck, *often, launcher=torchrun("--max-restarts=2"))
    assert_same_run(RUN, "whole" / RUN)


@pytest.mark.slurm
def test_a_run_goes_on_with_another_number_of_processes(run: Callable[..., str]) -> None:
    run(*UNEVEN, "--trainer.default_root_dir", "one")
    command = (*strike([40], "SIGUSR1"), "--ckpt_path", "auto")
    with pytest.raises(AssertionError, match="auto` goes on"):
        fit(*command)
    fit("--trainer.devices", 2, "--ckpt_path", "auto")
    assert_close_runs(RUN, "one" / RUN)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}, (4, 2)),
        ({"SLURM_NTASKS": "1"}, (1, 1)),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "bash"}, None),
        ({"SLURM_NTASKS": "6", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "3",
          "SLURM_STEP_ID": "0"}, (2, 3)),
    ],
    ids=["a shell", "torchrun", "a Slurm job of one task", "a shell in Slurm", "srun"],
)  # fmt: skip
def test_the_launcher_says_how_many(
    variables: dict[str, str], expected: tuple[int, int] | None
) -> None:
    assert launched_as(variables) == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}, "Put srun before the command"),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, "expected --ntasks-per-node"),
    ],
    ids=["without srun", "without tasks per node"],
)
def test_jobs_that_would_hang_are_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        launched_as(variables)
