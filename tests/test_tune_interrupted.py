"""``grulight tune`` with workers that are stopped and killed: every trial is counted once."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from interrupting import environment
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from grulight.tuning.workers import is_alive

OPTIONS = (
    *("--search.model.hidden_size", "int(2, 6, log)"),
    *("--search.optimizer.lr", "float(1e-3, 1e-1, log)"),
    *("--sampler", "random", "--pruner", "none", "--data.train_size", "80"),
)
KILLS = 10
PATIENCE = 240.0  # seconds that a step of a test may take

pytestmark = pytest.mark.slow


def options(epochs: int = 3, trials: int = 6) -> list[str]:
    return ["tune", *OPTIONS, f"--trainer.max_epochs={epochs}", f"--trials={trials}"]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``grulight`` in a process group of its own; nothing of it outlives the test."""
    started = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "grulight", *map(str, arguments)],
            env=environment(), text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def trials_in(study: Path) -> list[optuna.trial.FrozenTrial]:
    backend = JournalFileBackend(str(study / "journal.log"))
    return optuna.load_study(study_name="grulight", storage=JournalStorage(backend)).trials


def wait_until(happens: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if happens():
            return
        time.sleep(0.1)
    raise AssertionError(f"it did not happen that {what}")


def is_begun(study: Path) -> bool:
    is_there = (study / "journal.log").exists()
    return is_there and any(trial.state == TrialState.RUNNING for trial in trials_in(study))


def working(study: Path, parent: int) -> list[int]:
    """Return the processes that work on a study by now, but for the one that started them."""
    names = [path.name for path in (study / "workers").glob("*") if is_alive(study, path.name)]
    return [pid for name in names if (pid := int(name.split("-")[-2])) != parent]


def workers_of(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True)
    return [int(pid) for pid in listed.stdout.split()]


def rows_of(study: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((study / "trials.csv").read_text().splitlines()))


def assert_as_one_worker(study: Path, run: Callable[..., str], *arguments: object) -> None:
    run(*arguments, "--workers", 1, "--study", "alone")
    assert rows_of(study) == rows_of(Path("alone"))
    states = [trial.state for trial in trials_in(study)]
    assert states.count(TrialState.COMPLETE) == len(rows_of(study))
    assert TrialState.RUNNING not in states


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_who_is_asked_to_stop_says_so_and_goes_on_later(
    number: int, code: int, start: Callable[..., subprocess.Popen[str]], run: Callable[..., str]
) -> None:
    asked, study = options(20, 3), Path("study")
    process = start(*asked, "--workers", 2)
    wait_until(lambda: is_begun(study), "a trial begins")
    os.killpg(process.pid, number)  # as a terminal or a scheduler does: to all
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, said
    assert said.count("\n") == (code == 130), said
    assert not workers_of(process.pid)
    assert not (study / "trials.csv").exists()
    run(*asked, "--workers", 1)
    assert_as_one_worker(study, run, *asked)


def test_workers_killed_at_random_moments_lose_and_double_nothing(
    start: Callable[..., subprocess.Popen[str]], run: Callable[..., str]
) -> None:
    asked, study, draw = options(300, 12), Path("study"), random.Random(0)
    for _ in range(KILLS // 2):
        process = start(*asked, "--workers", 2)
        wait_until(lambda by=process.pid: len(working(study, by)) == 2, "two workers work")
        for worker in draw.sample(working(study, process.pid), 2):
            time.sleep(draw.uniform(0, 1))
            os.kill(worker, signal.SIGKILL)
        _, said = process.communicate(timeout=PATIENCE)  # nobody works
        assert process.returncode == 2, "the study ended before all were killed"
        assert "Start again to go on" in said
    states = [trial.state for trial in trials_in(study)]
    assert states.count(TrialState.FAIL) + states.count(TrialState.RUNNING) > KILLS // 2
    run(*asked, "--workers", 2)
    assert_as_one_worker(study, run, *asked)
