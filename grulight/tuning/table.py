"""A study's trials in words and as a table."""

import csv
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from grulight.files import written_whole
from grulight.tuning.finals import DEALS, Finals
from grulight.tuning.study import DIVERGED, FOLDS, PLACE, Study, place_of


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


def finals_line(finals: Finals) -> str:
    """Return what the finalists reached, the best first."""
    each = ", ".join(f"{value:.4f} trial {place_of(t) + 1}" for t, value in finals.results)
    return f"finalists on {DEALS} other deals of the folds: {each or 'all diverged'}"


def trials_csv(study: Study, path: Path, finals: Finals | None = None) -> None:
    """Write the finished trials, a row each, in their order.

    Columns: ``trial`` (from 1), ``outcome``, ``objective``, ``fold_1`` …, with finals
    ``other_folds``, and one for each setting. There are no times in it: the same study gives the
    same bytes.
    """
    again = {} if finals is None else {place_of(trial): v for trial, v in finals.results}
    finished = study.finished
    folds = max((len(trial.user_attrs.get(FOLDS, ())) for trial in finished), default=1)
    names = list(study.spaces)
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            [
                *("trial", "outcome", "objective"),
                *(f"fold_{n + 1}" for n in range(folds)),
                *(["other_folds"] if again else []),
                *names,
            ]
        )
        for trial in finished:
            values = [*trial.user_attrs.get(FOLDS, ()), *[""] * folds][:folds]
            objective = trial.value if trial.state == TrialState.COMPLETE else ""
            settings = [trial.params[name] for name in names]
            place = place_of(trial)
            other = [again.get(place, "")] if again else []
            writer.writerow([place + 1, outcome(trial), objective, *values, *other, *settings])
