"""A study's trials in words and as a table."""

import csv
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from grulight.files import written_whole
from grulight.tuning.study import DIVERGED, FOLDS, PLACE, Study


def outcome(trial: FrozenTrial) -> str:
    """Return how a finished trial ended: ``finished``, ``stopped early`` or ``diverged``."""
    if trial.state == TrialState.COMPLETE:
        return "finished"
    return "diverged" if trial.user_attrs.get(DIVERGED) else "stopped early"


def trial_line(trial: FrozenTrial, study: Study) -> str:
    """Return a finished trial as a line: number, objective, settings."""
    value = f"{trial.value:.4f}" if trial.state == TrialState.COMPLETE else outcome(trial)
    settings = "  ".join(f"{name} {shown(trial.params[name])}" for name in study.spaces)
    return f"{trial.user_attrs[PLACE] + 1:>4}  {value:>13}  {settings}"


def shown(value: object) -> str:
    """Return a setting as a person writes it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def trials_csv(study: Study, path: Path) -> None:
    """Write the finished trials, a row each, in their order.

    Columns: ``trial`` (from 1), ``outcome``, ``objective``, ``fold_1`` …, and one for
    each setting. There are no times in it: the same study gives the same bytes.
    """
    finished = study.finished
    folds = max((len(trial.user_attrs.get(FOLDS, ())) for trial in finished), default=1)
    names = list(study.spaces)
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["trial", "outcome", "objective", *(f"fold_{n + 1}" for n in range(folds)), *names]
        )
        for trial in finished:
            values = [*trial.user_attrs.get(FOLDS, ()), *[""] * folds][:folds]
            objective = trial.value if trial.state == TrialState.COMPLETE else ""
            settings = [trial.params[name] for name in names]
            row = [trial.user_attrs[PLACE] + 1, outcome(trial), objective, *values, *settings]
            writer.writerow(row)
