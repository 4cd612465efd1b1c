"""The best trials of a study once more, on folds dealt anew, before one of them is the best.

The best of many trials of one cross-validation is in part the luckiest on its folds.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from grulight.tuning.question import Asked
from grulight.tuning.study import PLACE, Study, place_of

FINALISTS = 5  # where nothing is said
DEALS = 3  # of the folds, for each finalist


class Finals(Study):
    """The study whose trials are those of the finalists: all on one deal, then on the next.

    Args:
        study: All of whose trials are finished.
        finalists: Some of its trials, the best first.
    """

    def __init__(self, study: Study, finalists: Sequence[FrozenTrial]) -> None:
        self.finalists = finalists
        places = [place_of(each) for each in self.finalists]
        self.suffix = f", {places}"
        super().__init__(
            study.directory,
            study.storage,
            Asked(study.maximizes, {"finalists": places}),
            study.spaces,
            trials=DEALS * len(self.finalists),
            seed=0,
            sampler="random",
            pruner="none",
            max_resource=1,
        )

    def settings_of(self, place: int) -> dict[str, Any]:
        """Return a finalist's settings."""
        return self.finalists[place % len(self.finalists)].params

    def deal_of(self, trial: Trial) -> int:
        """Return which deal it is; that of the study was the first."""
        return 1 + int(trial.user_attrs[PLACE]) // len(self.finalists)

    @property
    def results(self) -> list[tuple[FrozenTrial, float]]:
        """The finalists and the mean of their deals, the best first, without those that diverged.

        Empty while trials are missing.
        """
        found, count = self.finished, len(self.finalists)
        if len(found) < self.trials:
            return []
        deals = [(each, found[at::count]) for at, each in enumerate(self.finalists)]
        means = [
            (each, fmean(trial.value or 0.0 for trial in trials))
            for each, trials in deals
            if all(trial.state == TrialState.COMPLETE for trial in trials)
        ]
        return sorted(means, key=lambda pair: pair[1], reverse=self.maximizes)


def winner(study: Study, finals: Finals | None) -> FrozenTrial:
    """Return the best finalist, or where there are no finals the best trial.

    Raises:
        InputError: No trial was trained to its end.
    """
    results = finals.results if finals is not None else []
    return results[0][0] if results else study.require_best()


def finals_of(study: Study, config: Mapping[str, Any]) -> Finals | None:
    """Return the finals of a study; None without folds, or while trials are missing.

    Args:
        study: Of all trials.
        config: The options.
    """
    if not config["folds"] or len(study.finished) < study.trials:
        return None
    count = FINALISTS if config["finalists"] is None else config["finalists"]
    finalists = different(study)[:count]
    return Finals(study, finalists) if len(finalists) > 1 else None


def different(study: Study) -> list[FrozenTrial]:
    """Return the trials that were trained to their end, the best first, none like one before."""
    found: list[FrozenTrial] = []
    for trial in study.ranked:
        if all(trial.params != each.params for each in found):
            found.append(trial)
    return found
