"""``study.html``: what a study found, on one page that needs nothing else."""

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from grulight.trace.templates import write_template
from grulight.tuning.charts import Axis, fold_chart, history_chart, parallel, setting_chart
from grulight.tuning.finals import Finals, winner
from grulight.tuning.study import CONFUSION, FOLDS, PLACE, Study
from grulight.tuning.table import finals_line, outcome, shown

_TEMPLATE = Path(__file__).parent / "study.html.j2"
_SHOWN = 500  # trials in the table, the best
_SPREAD = 10  # trials whose folds are drawn


def write_study_page(
    study: Study,
    path: Path,
    objective: str,
    class_names: Sequence[str] = (),
    finals: Finals | None = None,
) -> None:
    """Write the page of a study with at least one trial that was trained to its end.

    Args:
        study: What is shown.
        path: The file; appears whole or not at all.
        objective: What its trials are judged by.
        class_names: Of the confusion matrix, where there is one.
        finals: Of the best trials, where there are some.
    """
    finished = study.finished
    complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    ranked, best = study.ranked, winner(study, finals)
    axes = [Axis(name, space) for name, space in study.spaces.items()]
    values = [_value(trial) for trial in complete]
    confusion = best.user_attrs.get(CONFUSION)
    write_template(
        path,
        _TEMPLATE,
        finals=finals_line(finals) if finals is not None else "",
        title=_title(objective, best, finals, len(finished)),
        name=str(study.directory),
        objective=objective,
        better="more" if study.maximizes else "less",
        counts=_counts(finished),
        best=[(name, shown(best.params[name])) for name in study.spaces],
        best_number=best.user_attrs[PLACE] + 1,
        history=_history(finished, objective, maximizes=study.maximizes),
        importances=list(_importances(study).items()),
        settings=[
            setting_chart(axis, objective, [t.params[axis.name] for t in complete], values)
            for axis in axes
        ],
        parallel=parallel(
            axes,
            objective,
            [[trial.params[axis.name] for axis in axes] for trial in complete],
            values,
            maximizes=study.maximizes,
        ),
        folds=_folds(ranked, objective),
        confusion=confusion if confusion and len(confusion) == len(class_names) else None,
        class_names=list(class_names),
        names=list(study.spaces),
        rows=[_row(trial, list(study.spaces)) for trial in ranked[:_SHOWN]],
        total=len(ranked),
    )


def _title(objective: str, best: FrozenTrial, finals: Finals | None, trials: int) -> str:
    if finals is None or not finals.results:
        return f"{objective} {_value(best):.4f}, the best of {trials} trials"
    count, value = len(finals.finalists), finals.results[0][1]
    return f"{objective} {value:.4f} on folds dealt anew, the best of {count} of {trials} trials"


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _importances(study: Study) -> dict[str, float]:
    """Return how much each setting mattered (fANOVA, as Optuna computes it), by setting."""
    complete = [trial for trial in study.finished if trial.state == TrialState.COMPLETE]
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study.in_optuna, evaluator=evaluator))


def _counts(finished: Sequence[FrozenTrial]) -> str:
    kinds = [outcome(trial) for trial in finished]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)))


def _history(finished: Sequence[FrozenTrial], objective: str, *, maximizes: bool) -> Any:
    values = [_value(t) if t.state == TrialState.COMPLETE else math.nan for t in finished]
    better = max if maximizes else min
    worst = -math.inf if maximizes else math.inf
    best = list(accumulate((worst if math.isnan(v) else v for v in values), better))
    return history_chart(objective, values, best)


def _folds(ranked: Sequence[FrozenTrial], objective: str) -> Any:
    found = [
        (str(trial.user_attrs[PLACE] + 1), trial.user_attrs.get(FOLDS, []))
        for trial in ranked[:_SPREAD]
    ]
    return fold_chart(objective, found) if any(len(values) > 1 for _, values in found) else None


def _row(trial: FrozenTrial, names: Sequence[str]) -> list[str]:
    settings = [shown(trial.params[name]) for name in names]
    return [str(trial.user_attrs[PLACE] + 1), f"{_value(trial):.4f}", *settings]
