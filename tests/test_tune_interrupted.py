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

OPTIONS = (
    *("--search.model.hidden_size", "int(2, 6, log)"),
    *("--search.optimizer.lr", "float(1e-3, 1e-1, log)"),
    *("--sampler", "random", "--pruner", "none", "--data.train_size", "80"),
)
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


def wait_for(study: Path, state: TrialState, count: int = 1) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if (study / "journal.log").exists():
            found = [trial for trial in trials_in(study) if trial.state == state]
            if len(found) >= count:
                return
        time.sleep(0.1)
    raise AssertionError(f"no {count} trials became {state}")


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
    wait_for(study, TrialState.RUNNING)
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
    asked, study, draw = options(30, 12), Path("study"), random.Random(0)
    kills = 0
    process = start(*asked, "--workers", 2)
    while kills < 10:
        time.sleep(draw.uniform(2, 6))
        if process.poll() is not None:
            break
        alive = workers_of(process.pid)
        if alive:
            os.kill(draw.choice(alive), signal.SIGKILL)
            kills += 1
        if len(alive) < 2:  # all are dead now: somebody starts again
            process.communicate(timeout=PATIENCE)
            process = start(*asked, "--workers", 2)
    process.communicate(timeout=PATIENCE)
    assert kills >= 5
    run(*asked, "--workers", 2)
    assert_as_one_worker(study, run, *asked)
