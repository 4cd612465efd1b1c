"""Optuna's samplers and pruners by the names that ``grulight tune`` has for them."""

from typing import Literal

import optuna

Sampler = Literal["tpe", "random", "gp"]
Pruner = Literal["median", "hyperband", "none"]


def sampler_of(name: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    """Return who chooses the settings of trials."""
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def pruner_of(name: Pruner, steps: int) -> optuna.pruners.BasePruner:
    """Return who stops trials early, of at most so many reports each."""
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(max_resource=max(steps, 1))
    return optuna.pruners.MedianPruner()
