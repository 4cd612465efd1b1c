"""Optuna's samplers and pruners by the names that ``grulight tune`` has for them."""

from collections.abc import Callable
from copy import copy
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

Sampler = Literal["tpe", "random", "gp"]
Pruner = Literal["median", "hyperband", "none"]


def sampler_of(name: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    """Return who chooses the settings of trials."""
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def pruner_of(
    name: Pruner, steps: int, place_of: Callable[[FrozenTrial], int]
) -> optuna.pruners.BasePruner:
    """Return who stops trials early, of at most so many reports each.

    Args:
        name: Optuna's, by name.
        steps: Reports that a trial makes at most.
        place_of: The place of a trial among those that were asked for.
    """
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "hyperband":
        return _Hyperband(max(steps, 1), place_of)
    return optuna.pruners.MedianPruner()


class _Hyperband(optuna.pruners.HyperbandPruner):
    """Optuna's Hyperband, whose brackets are drawn by a trial's place.

    Optuna draws them by the study's name, which in a database is a directory's, and by a number
    that counts trials that were given up.
    """

    def __init__(self, steps: int, place_of: Callable[[FrozenTrial], int]) -> None:
        super().__init__(max_resource=steps)
        self._place_of = place_of
        self._drawn_for = optuna.create_study(study_name="grulight")
        self._try_initialization(self._drawn_for)  # else the first asked has no brackets

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        if trial.state == TrialState.FAIL:
            return -1  # competes with none: its place is tried again
        placed = copy(trial)
        placed.number = self._place_of(trial)
        return super()._get_bracket_id(self._drawn_for, placed)
