"""``grulight tune``: many trainings, the best settings, and a model trained with them."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console

from grulight.commands import fit
from grulight.commands.console import open_console
from grulight.commands.lightning_messages import silence_expected_warnings
from grulight.commands.tune_cli import TuneCLI
from grulight.errors import InputError
from grulight.files import written_whole
from grulight.runs.run_directory import RUNS
from grulight.runs.signals import EXIT_CODE, asked
from grulight.training.divergence import Diverged
from grulight.tuning.objective import ObjectiveReporter, maximizes
from grulight.tuning.page import write_study_page
from grulight.tuning.question import Asked
from grulight.tuning.study import CONFUSION, DIVERGED, FOLDS, Study
from grulight.tuning.table import trial_line, trials_csv
from grulight.tuning.workers import registered

if TYPE_CHECKING:
    from optuna.trial import Trial

_WORKER = "GRULIGHT_TUNE_WORKER"  # set for the processes that a study starts
_PICTURED = 30  # classes of a confusion matrix that a study keeps
_PAUSE = 0.2  # seconds between looks at what the others do


def run(arguments: list[str]) -> None:
    """Search settings, then train and test once with the best."""
    silence_expected_warnings()
    console = open_console()
    cli = TuneCLI(arguments, console)
    is_helper = bool(os.environ.get(_WORKER))
    if is_helper:
        console.quiet = True
    else:
        cli.check_spaces()
    study = _opened(cli)
    count = 1 if is_helper else min(cli.config["workers"] or _cores(), cli.config["trials"])
    with registered(study.directory) as name:
        if count == 1:
            _work(cli, study, name)
        else:
            _employ(arguments, count, study, console)
        if not is_helper:
            _conclude(cli, study, name)


def _opened(cli: TuneCLI) -> Study:
    config = cli.config
    steps = (config["folds"] or 1) * (config["trainer"]["max_epochs"] or 1)
    return Study(
        Path(config["study"]),
        config["storage"],
        Asked(maximizes(config["objective"]), cli.question),
        cli.spaces,
        config["trials"],
        cli.seed,
        config["sampler"],
        config["pruner"],
        steps,
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _employ(arguments: Sequence[str], count: int, study: Study, console: Console) -> None:
    """Let processes of this machine work on the study, and show each trial that finishes."""
    command = [sys.executable, "-m", "grulight", "tune", *arguments, "--workers=1"]
    threads = str(max(1, _cores() // count))
    environment = os.environ | {_WORKER: "1", "OMP_NUM_THREADS": threads}
    workers = [subprocess.Popen(command, env=environment) for _ in range(count)]
    shown = 0
    try:
        while any(worker.poll() is None for worker in workers):
            if asked():
                raise SystemExit(EXIT_CODE)
            shown = _show(study, shown, console)
            time.sleep(_PAUSE)
    except BaseException:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
        raise
    _show(study, shown, console)
    codes = [worker.returncode for worker in workers]
    if EXIT_CODE in codes:
        raise SystemExit(EXIT_CODE)
    if len(study.finished) < study.trials and any(codes):
        raise InputError(
            f"{study.directory}: {len(study.finished)} of {study.trials} trials are finished, and "
            "all workers have ended; their lines are above. Start again to go on."
        )


def _show(study: Study, shown: int, console: Console) -> int:
    finished = sorted(study.finished, key=lambda trial: trial.datetime_complete or datetime.max)
    for trial in finished[shown:]:
        console.print(trial_line(trial, study), markup=False, highlight=False, soft_wrap=True)
    return len(finished)


def _work(cli: TuneCLI, study: Study, name: str) -> None:
    """Take trials until all are finished, those of workers that die included."""
    start = time.monotonic()
    if os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    shown = 0
    while len(study.finished) < study.trials:
        if cli.config["timeout"] and time.monotonic() - start > cli.config["timeout"]:
            return
        if asked():  # also while others work
            raise SystemExit(EXIT_CODE)
        trial = study.ask(name)
        if trial is None:
            time.sleep(_PAUSE)
            continue
        try:
            study.finish(trial, _value(cli, trial))
        except BaseException as error:
            study.give_up(trial)
            if isinstance(error, SIGTERMException):  # Lightning's own, while it trains
                raise SystemExit(EXIT_CODE) from error
            raise
        shown = _show(study, shown, cli.console)


def _value(cli: TuneCLI, trial: "Trial") -> float | None:
    """Train as a trial says; return its objective, None where it was stopped early or diverged."""
    cli.take(trial.params)
    values, confusion = [], np.zeros(())
    epochs = cli.config["trainer"]["max_epochs"] or 1
    for fold, parts in enumerate(cli.folds_of_training):

        def stops(epoch: int, value: float, first: int = fold * epochs) -> bool:
            trial.report(value, first + epoch)
            return bool(trial.should_prune())

        reporter = ObjectiveReporter(cli.config["objective"], stops)
        try:
            cli.train(parts, reporter)
        except Diverged:
            trial.set_user_attr(DIVERGED, True)
            return None
        if reporter.stopped or reporter.value is None:
            return None
        values.append(reporter.value)
        if reporter.confusion is not None:
            confusion = confusion + reporter.confusion
    trial.set_user_attr(FOLDS, values)
    if np.ndim(confusion) and len(confusion) <= _PICTURED:
        trial.set_user_attr(CONFUSION, np.asarray(confusion).tolist())
    return sum(values) / len(values)


def _conclude(cli: TuneCLI, study: Study, name: str) -> None:
    """Write what the study found; train and test once with the best settings."""
    best, finished = study.best, len(study.finished)
    if best is None:
        raise InputError(
            f"{study.directory}: none of {finished} trials was trained to its end. Try --pruner "
            "none, a smaller --search.optimizer.lr, or more --trials."
        )
    trials_csv(study, study.directory / "trials.csv")
    with written_whole(study.directory / "best.yaml") as temporary:
        temporary.write_text(cli.settings_of_fit(best.params), encoding="utf-8")
    write_study_page(
        study, study.directory / "study.html", cli.config["objective"], cli.class_names
    )
    lines = [f"best: {trial_line(best, study)}"]
    if finished < study.trials:
        lines.append(f"{finished} of {study.trials} trials are finished: start again to go on")
    mine = finished >= study.trials and study.take_conclusion(name)
    if finished >= study.trials and not mine:
        lines.append(f"trained already, or by another worker: {study.directory}/{RUNS}")
    for line in lines:
        cli.console.print(line, markup=False, highlight=False, soft_wrap=True)
    if mine:
        where = f"--trainer.default_root_dir={study.directory}"
        fit.run([f"--config={study.directory / 'best.yaml'}", where])
        study.conclude()
