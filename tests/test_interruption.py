"""A run that is interrupted ends as one that was not: same weights, same metrics, one directory."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupting import HOOKS, assert_same_run, environment, strike

from grulight.checkpoint_files.reader import read_checkpoint
from grulight.cli import main
from grulight.errors import InputError
from grulight.runs.checkpoint import WholeCheckpointIO
from grulight.runs.metrics_csv import MetricsFile
from grulight.runs.resuming import newest_checkpoint
from grulight.runs.saving import epoch_checkpoint

Run = Callable[..., str]

# dropout needs the random numbers to go on, 36 batches per epoch leave a smaller last one;
# one step at a time, as a callback that strikes at any step has it
LONG = (
    "fit", "--trainer.max_epochs", 6, "--model.dropout", 0.2, "--data.val_size", 0.1,
    "--data.batch_size", 20, "--data.train_size", 790, "--ckpt_path", "auto",
    "--model.steps_per_execution", 1,
)  # fmt: skip
EPOCH = 36
RUN = Path("lightning_logs/version_0")


@pytest.fixture(scope="module")
def uninterrupted(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("uninterrupted")
    run(*LONG, "--trainer.default_root_dir", root)
    return root / RUN


def fit(*options: object) -> int:
    """Run `grulight fit` here; return its exit code."""
    try:
        return main([str(option) for option in (*LONG, *options)])
    except SystemExit as stop:
        return int(str(stop.code))


def fit_elsewhere(*options: object) -> int:
    """Run `grulight fit` in a process of its own, which may be killed."""
    command = [sys.executable, "-m", "grulight", *map(str, (*LONG, *options))]
    return subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL).returncode


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM"])
def test_asked_to_stop_at_random_moments_it_loses_nothing(uninterrupted: Path, name: str) -> None:
    draw = random.Random(name)
    for epoch in range(5):
        moment = epoch * EPOCH + draw.randrange(1, EPOCH)
        assert fit(*strike([moment], name, draw.choice(HOOKS))) == 75
    assert fit() == 0
    assert_same_run(RUN, uninterrupted)
    assert not list(Path("lightning_logs").glob("version_1"))


@pytest.mark.slurm
def test_killed_at_random_moments_it_goes_on_from_its_last_checkpoint(uninterrupted: Path) -> None:
    draw = random.Random(9)
    for epoch in range(3):
        moment = epoch * EPOCH + draw.randrange(10, EPOCH)
        often = ("--checkpoint.every_n_steps", 7)
        assert fit_elsewhere(*strike([moment], "SIGKILL", draw.choice(HOOKS)), *often) == -9
    assert fit() == 0
    assert_same_run(RUN, uninterrupted)


def test_a_kill_between_checkpoint_and_row_loses_no_row(uninterrupted: Path) -> None:
    assert fit("--trainer.max_epochs", 2) == 0
    table = RUN / "metrics.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows[:2], rows[2][:9]]))  # the row of epoch 2, half written
    assert fit() == 0
    assert_same_run(RUN, uninterrupted)


def test_auto_starts_afresh_where_nothing_is_and_is_idempotent(uninterrupted: Path) -> None:
    shutil.copytree(uninterrupted.parent, "lightning_logs")
    assert fit() == 0
    assert_same_run(RUN, uninterrupted)


def test_steps_are_saved_and_the_newest_kept(run: Run) -> None:
    run("fit", "--trainer.max_epochs", 2, "--checkpoint.every_n_steps", 10, "--checkpoint.keep", 3)
    found = sorted(path.name for path in (RUN / "checkpoints").glob("step_*"))
    # 25 batches are an epoch: its end has last.ckpt
    assert found == ["step_000000020.ckpt", "step_000000030.ckpt", "step_000000040.ckpt"]


def test_a_damaged_newest_checkpoint_is_passed_over(run: Run, uninterrupted: Path) -> None:
    run(*LONG, "--trainer.max_epochs", 2, "--checkpoint.every_n_steps", 10)
    for name in ("last.ckpt", "best.ckpt"):
        path = RUN / "checkpoints" / name
        path.write_bytes(path.read_bytes()[:1000])
    assert "passed over: " in run(*LONG)
    assert_same_run(RUN, uninterrupted)


def test_where_all_checkpoints_are_damaged_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / RUN / "checkpoints").mkdir(parents=True)
    (tmp_path / RUN / "checkpoints" / "last.ckpt").write_bytes(b"x")
    with pytest.raises(InputError, match="none of its 1 checkpoints can be read"):
        newest_checkpoint(tmp_path, lambda _: None)


def test_other_batches_do_not_finish_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(*strike([10], "SIGUSR1")) == 75
    assert fit("--data.batch_size", 10) == 2
    assert "batch_size 20, now it is 10" in capsys.readouterr().err


def test_accumulated_gradients_are_not_lost(run: Run) -> None:
    accumulate = ("--trainer.accumulate_grad_batches", 3)
    assert fit(*strike([5], "SIGUSR1"), *accumulate) == 75
    assert fit(*accumulate) == 0
    run(*LONG, *accumulate, "--trainer.default_root_dir", "whole")
    assert_same_run(RUN, "whole" / RUN)


def test_speed_has_a_table_of_its_own(uninterrupted: Path) -> None:
    with (uninterrupted / "timing.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert all(float(row["sequences_per_second"]) > 0 for row in rows)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_while_it_writes_there_is_always_a_checkpoint(tmp_path: Path, kills: int) -> None:
    path, draw = tmp_path / "last.ckpt", random.Random(4)
    WholeCheckpointIO().save_checkpoint({"grulight_format": 1, "value": torch.zeros(1)}, path)
    script = tmp_path / "write.py"
    script.write_text(
        "import sys, torch\n"
        "from grulight.runs.checkpoint import WholeCheckpointIO\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    checkpoint = {'grulight_format': 1, 'value': torch.ones(2_000_000)}\n"
        "    WholeCheckpointIO().save_checkpoint(checkpoint, sys.argv[1])\n"
    )
    kill_while_writing(script, path, [draw.uniform(0, 0.2) for _ in range(kills)])


def kill_while_writing(script: Path, path: Path, delays: list[float]) -> None:
    spawner = (
        "import os, runpy, signal, sys, time\n"
        "import grulight.runs.checkpoint\n"  # imported once; every writer is a fork of this
        "for delay in map(float, sys.argv[3:]):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        sys.argv = [sys.argv[1], sys.argv[2]]\n"
        "        runpy.run_path(sys.argv[0])\n"
        "    time.sleep(delay)\n"
        "    os.kill(child, signal.SIGKILL)\n"
        "    os.waitpid(child, 0)\n"
        "    grulight.runs.checkpoint.read_checkpoint(sys.argv[2])\n"
    )
    command = [sys.executable, "-c", spawner, str(script), str(path), *map(str, delays)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert read_checkpoint(path)["value"].numel() == 2_000_000


def test_an_epoch_without_validation_is_saved_too(run: Run) -> None:
    often = ("--trainer.max_epochs", 3, "--trainer.check_val_every_n_epoch", 2)
    run("fit", *often, "--data.val_size", 0.1)
    saved = torch.load(RUN / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["epoch"] == 2


def test_a_users_own_checkpoints_are_left_alone(run: Run) -> None:
    Path("mine").mkdir()
    Path("mine/step_000000001.ckpt").write_text("theirs")
    own = ("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.dirpath=mine")
    run("fit", "--checkpoint.every_n_steps", 10, "--checkpoint.keep", 1, *own)
    assert Path("mine/step_000000001.ckpt").read_text() == "theirs"
    assert len(list(RUN.rglob("step_*.ckpt"))) == 1


def test_a_kill_in_the_first_checkpoint_is_a_fresh_start(run: Run) -> None:
    (RUN / "checkpoints").mkdir(parents=True)
    (RUN / "checkpoints" / ".last-abc.ckpt").write_bytes(b"half")
    run("fit", "--ckpt_path", "auto", "--trainer.max_epochs", 1)
    assert Path("lightning_logs/version_1/checkpoints/last.ckpt").is_file()


def test_a_run_that_its_steps_ended_is_finished(run: Run) -> None:
    limited = ("fit", "--trainer.max_steps", 60, "--ckpt_path", "auto")
    run(*limited)
    before = (RUN / "metrics.csv").read_text().splitlines()
    assert "test (200 sequences)" in run(*limited)
    after = (RUN / "metrics.csv").read_text().splitlines()
    assert after[:-1] == before[:-1]
    assert after[-1].split(",")[1:] == before[-1].split(",")[1:]  # Lightning counts the epoch up


def test_the_best_is_known_whenever_a_kill_comes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("fit", "--trainer.max_epochs", 5, "--trainer.default_root_dir", "whole")
    links, link = [], os.link

    def die_at_the_third(*arguments: Path) -> None:
        links.append(arguments)
        if len(links) == 3:
            raise KeyboardInterrupt
        link(*arguments)

    monkeypatch.setattr(epoch_checkpoint, "_PAUSE", 0.0)
    monkeypatch.setattr(os, "link", die_at_the_third)
    assert main(["fit", "--ckpt_path", "auto"]) == 130
    monkeypatch.setattr(os, "link", link)
    run("fit", "--ckpt_path", "auto")
    assert_same_run(RUN, "whole" / RUN)
    best, last = (RUN / "checkpoints" / name for name in ("best.ckpt", "last.ckpt"))
    assert best.samefile(last)


@pytest.mark.parametrize("ends", ["by itself", "interrupted"])
def test_short_epochs_wait_for_each_other_and_none_is_lost(
    ends: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, save = [], WholeCheckpointIO.save_checkpoint

    def count(self: WholeCheckpointIO, checkpoint: dict[str, Any], path: Path, **rest: Any) -> None:
        written.append((Path(path).name, checkpoint["global_step"]))
        save(self, checkpoint, path, **rest)

    monkeypatch.setattr(WholeCheckpointIO, "save_checkpoint", count)
    monkeypatch.setattr(epoch_checkpoint, "_PAUSE", 1e9)
    command = ("fit", "--trainer.max_epochs", "6", "--model.steps_per_execution", "1")
    options = strike([100], "SIGINT") if ends == "interrupted" else ()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    assert main([*command, *options]) == (130 if options else 0)
    signal.signal(signal.SIGINT, handler)
    steps = 100 if options else 150
    assert written[0] == ("best.ckpt", 25)
    assert written[-1][1] == steps
    assert len(written) <= 3
    assert read_checkpoint(RUN / "checkpoints/last.ckpt")["global_step"] == steps
    run(*command, "--ckpt_path", "auto")
    run(*command, "--trainer.default_root_dir", "whole")
    assert_same_run(RUN, "whole" / RUN)


def test_what_was_saved_last_is_what_a_run_goes_on_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        epoch_checkpoint, "_PAUSE", 1e9
    )  # the second epoch waits when the third is stopped
    assert fit(*strike([2 * EPOCH + 7], "SIGTERM")) == 75
    saved = newest_checkpoint(".", print)
    assert saved is not None
    checkpoint = read_checkpoint(saved)
    assert checkpoint["global_step"] == 2 * EPOCH + 7 + 1
    assert read_checkpoint(saved.with_name("last.ckpt"))["global_step"] == 2 * EPOCH
    best = read_checkpoint(saved.with_name("best.ckpt"))["callbacks"]
    [known] = [state["best"] for name, state in best.items() if name.startswith("RunCheckpoint")]
    [held] = [
        state["best"]
        for name, state in checkpoint["callbacks"].items()
        if name.startswith("RunCheckpoint")
    ]
    assert known == held


def test_loggers_hear_of_checkpoints_once_they_are_there(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def hear(self: MetricsFile, callback: Any) -> None:
        heard.append(Path(callback.best_model_path).is_file())

    monkeypatch.setattr(MetricsFile, "after_save_checkpoint", hear)
    run("fit")
    assert len(heard) >= 2  # of the first epoch and of the last
    assert all(heard)


def test_another_seed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--data.seed", 1, *strike([10], "SIGUSR1")) == 75
    assert fit("--data.seed", 2) == 2
    assert "shuffles with 1" in capsys.readouterr().err


def test_auto_needs_our_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.logger", "false") == 2
    assert "Leave out --trainer.logger" in capsys.readouterr().err


def test_a_trial_run_leaves_nothing_behind(run: Run) -> None:
    run("fit", "--trainer.fast_dev_run", 3, "--checkpoint.every_n_steps", 1)
    assert not list(Path().rglob("*.ckpt"))
