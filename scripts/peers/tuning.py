"""Studies of the same trials: ``grulight tune``, Optuna around Lightning, Keras Tuner on JAX."""

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from peers import peer_process
from peers.benchmark_state import Benchmark
from peers.peer_process import HERE, Skipped
from peers.work import draw, save

WORKERS, EPOCHS = 2, 30
CASE = f"{EPOCHS} epochs"
LEARNED = 0.7  # the validation loss that a study's best trial reaches at least; guessing has 1.1
# peer that takes part -> what its study is called
STUDIES = {
    "grulight": "grulight",
    "lightning": "Optuna around Lightning",
    "keras-jax": "Keras Tuner on JAX",
}
Env = Mapping[str, str]


class Finished(NamedTuple):
    """A trial: when it was finished, in seconds, and its validation loss."""

    at: float
    value: float


def tune(bench: Benchmark, trials: int) -> list[str]:
    """Time studies; return what is to be said of them.

    A study's time per trial is that of all trials but the first of each worker, by the moments at
    which they were finished: neither imports nor what is compiled once count.
    """
    env = peer_process.environment(1)
    runs = {
        name: _timed(peer, trials, EPOCHS, env)
        for peer, name in STUDIES.items()
        if peer in bench.peers
    }
    if "grulight" in runs:  # what it costs beside its epochs is what does not double with them
        runs["grulight, twice the epochs"] = _timed("grulight", trials, 2 * EPOCHS, env)
    with bench.console.status(f"studies of {trials} trials, {bench.rounds} rounds"):
        samples = peer_process.in_turns(runs, bench.rounds)
    for name, sample in samples.items():
        bench.results["tune", CASE, name] = sample
    measured = {name: sample.median for name, sample in samples.items() if sample.values}
    said = [
        f"{name}: {60 / seconds:,.1f} trials per minute of {WORKERS} workers"
        for name, seconds in measured.items()
    ]
    if {"grulight", "grulight, twice the epochs"} <= set(measured):
        own = WORKERS * (2 * measured["grulight"] - measured["grulight, twice the epochs"])
        said.append(f"a trial of grulight's costs {1e3 * own:.0f} ms of a core beside its epochs")
    return said


def seconds_per_trial(finished: Sequence[Finished]) -> float:
    """Return the time between two trials of a study, less its workers' first ones.

    Raises:
        Skipped: Its best trial has not learned what there is.
    """
    best = min(trial.value for trial in finished)
    if not best <= LEARNED:
        raise Skipped(f"refused: the best validation loss is {best:.3f}, expected {LEARNED}")
    moments = sorted(trial.at for trial in finished)
    if len(moments) <= WORKERS:
        raise Skipped(f"refused: {len(moments)} trials were finished, expected more")
    return (moments[-1] - moments[WORKERS - 1]) / (len(moments) - WORKERS)


def _timed(peer: str, trials: int, epochs: int, env: Env) -> Callable[[], float]:
    def measure() -> float:
        with tempfile.TemporaryDirectory() as directory:
            study = Path(directory)
            if peer == "grulight":
                return seconds_per_trial(_grulight(study, trials, epochs, env))
            save(draw(), study / "work.npz")
            run = _lightning if peer == "lightning" else _keras
            return seconds_per_trial(run(study, trials, epochs, env))

    return measure


def _grulight(directory: Path, trials: int, epochs: int, env: Env) -> list[Finished]:
    command = [sys.executable, "-m", "grulight", "tune", "--trainer.accelerator=cpu"]
    command += ["--search.model.hidden_size=int(8, 32, log)", "--sampler=random", "--pruner=none"]
    command += ["--search.optimizer.lr=float(1e-3, 1e-1, log)", f"--study={directory / 'study'}"]
    command += [f"--workers={WORKERS}", f"--trials={trials}", f"--trainer.max_epochs={epochs}"]
    _together([command], directory, env)
    return _in_journal(directory / "study" / "journal.log")


def _lightning(directory: Path, trials: int, epochs: int, env: Env) -> list[Finished]:
    journal = directory / "journal.log"
    paths = [str(directory / "work.npz"), str(journal)]
    script = [sys.executable, str(HERE / "tune_lightning.py"), *paths, str(trials), str(epochs)]
    _together([[*script, str(seed)] for seed in range(WORKERS)], directory, env)
    return _in_journal(journal)


def _keras(directory: Path, trials: int, epochs: int, env: Env) -> list[Finished]:
    for package in ("jax", "keras_tuner"):
        if find_spec(package) is None:
            raise Skipped(f"not installed: {package}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    oracle = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    paths = [str(directory / "work.npz"), str(directory)]
    script = [sys.executable, str(HERE / "tune_keras.py"), *paths, str(trials), str(epochs), "0"]
    names = [f"tuner{number}" for number in range(WORKERS)]
    with (directory / "chief.log").open("w") as log:
        chief = subprocess.Popen(
            script, env={**env, **oracle, "KERASTUNER_TUNER_ID": "chief"}, cwd=directory,
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            environments = [{**env, **oracle, "KERASTUNER_TUNER_ID": name} for name in names]
            _together([script] * WORKERS, directory, *environments)
        finally:
            chief.kill()
            chief.wait()
    lines = [line for name in names for line in (directory / f"{name}.jsonl").open()]
    return [Finished(**json.loads(line)) for line in lines]


def _together(commands: Sequence[Sequence[str]], directory: Path, *envs: Env) -> None:
    """Run commands at once to their ends, with an environment for each or one for all."""
    logs = [directory / f"{number}.log" for number in range(len(commands))]
    running = []
    for number, command in enumerate(commands):
        env = dict(envs[number % len(envs)])
        with logs[number].open("w") as log:
            running.append(
                subprocess.Popen(
                    command, env=env, cwd=directory, stdout=subprocess.DEVNULL, stderr=log
                )
            )
    codes = [process.wait(peer_process.LIMIT) for process in running]
    for code, log in zip(codes, logs, strict=True):
        if code:
            raise Skipped(peer_process.reason_in(log))


def _in_journal(path: Path) -> list[Finished]:
    from optuna import load_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    study = load_study(study_name="grulight", storage=JournalStorage(JournalFileBackend(str(path))))
    return [
        Finished(trial.datetime_complete.timestamp(), trial.value)
        for trial in study.get_trials(states=(TrialState.COMPLETE,))
    ]
