"""The trials of a study: taken one by one, trained, and shown."""

import math
import os
import time
from datetime import datetime
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console

from grulight.commands.tune_cli import TuneCLI
from grulight.runs.signals import EXIT_CODE, asked
from grulight.training.divergence import Diverged
from grulight.tuning.finals import Finals
from grulight.tuning.objective import ObjectiveReporter
from grulight.tuning.study import CONFUSION, DIVERGED, FOLDS, Study
from grulight.tuning.table import trial_line

if TYPE_CHECKING:
    from optuna.trial import Trial

PAUSE = 0.2  # seconds between looks at what the others do
_PICTURED = 30  # classes of a confusion matrix that a study keeps


def work(cli: TuneCLI, study: Study, name: str) -> None:
    """Take trials until all are finished, those of workers that die included.

    Args:
        cli: Trains them.
        study: Has them.
        name: Of this worker.

    Raises:
        SystemExit: The worker was asked to stop; its trial is free again.
    """
    start, is_last = time.monotonic(), isinstance(study, Finals)
    limit = None if is_last else cli.config["timeout"]
    if os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    shown = 0
    while len(study.finished) < study.trials:
        if limit and time.monotonic() - start > limit:
            return
        _leave_if_asked()  # also while others work
        trial = study.ask(name)
        if trial is None:
            time.sleep(PAUSE)
            continue
        try:
            study.finish(trial, _value(cli, trial, study.deal_of(trial)))
        except BaseException as error:
            study.give_up(trial)
            if isinstance(error, SIGTERMException):  # Lightning's own, while it trains
                raise SystemExit(EXIT_CODE) from error
            raise
        if not is_last:
            shown = show(study, shown, cli.console)


def show(study: Study, shown: int, console: Console) -> int:
    """Print the finished trials but for so many that were shown; return how many are finished."""
    finished = sorted(study.finished, key=lambda trial: trial.datetime_complete or datetime.max)
    for trial in finished[shown:]:
        console.print(trial_line(trial, study), markup=False, highlight=False, soft_wrap=True)
    return len(finished)


def _leave_if_asked() -> None:
    if asked():
        raise SystemExit(EXIT_CODE)


def _value(cli: TuneCLI, trial: "Trial", deal: int) -> float | None:
    """Train as a trial says; return its objective, None where it was stopped early or diverged.

    It is stopped by the epoch's metric; of several folds by their mean after each, as a trial that
    does badly on one of them may do well on all.
    """
    cli.take(trial.params, deal)
    values: list[float] = []
    confusion = np.zeros(())
    last = len(cli.folds_of_training) - 1

    def stops(epoch: int, value: float) -> bool:
        _leave_if_asked()
        return not last and not deal and _falls_behind(cli, trial, epoch, value)

    for fold, parts in enumerate(cli.folds_of_training):
        reporter = ObjectiveReporter(cli.config["objective"], stops)
        try:
            cli.train(parts, [reporter])
            diverged = not math.isfinite(reporter.value or 0.0)
        except Diverged:
            diverged = True
        if diverged:
            trial.set_user_attr(DIVERGED, True)
            return None
        if reporter.stopped or reporter.value is None:
            return None
        values.append(reporter.value)
        if reporter.confusion is not None:
            confusion = confusion + reporter.confusion
        if fold < last and not deal and _falls_behind(cli, trial, fold, fmean(values)):
            return None
    trial.set_user_attr(FOLDS, values)
    if np.ndim(confusion) and len(confusion) <= _PICTURED:
        trial.set_user_attr(CONFUSION, np.asarray(confusion).tolist())
    return fmean(values)


def _falls_behind(cli: TuneCLI, trial: "Trial", step: int, value: float) -> bool:
    if cli.config["pruner"] == "none":
        return False  # nobody asks: a report is a write to the disk
    trial.report(value, step)
    return bool(trial.should_prune())
