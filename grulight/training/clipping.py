"""How gradients are limited in compiled steps: as the Trainer does it, then as Keras does."""

from collections.abc import Sequence

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor

from grulight.kernels.rules import Updates
from grulight.optimizer_base import Clipping


def known(clip: object, weights: Sequence[Tensor]) -> bool:
    """Return whether compiled steps know how an optimiser of Keras' clips gradients of weights."""
    if clip is None:
        return True
    if type(clip) is not Clipping:
        return False
    of_clip = {id(each) for variable in clip.variables for each in variable}
    every = all(id(each) in of_clip for each in weights if each.requires_grad)
    return every and clip.rule in ("clipvalue", "clipnorm", "global_clipnorm")


def clipped(updates: Updates, clip: Clipping, weights: Sequence[Tensor]) -> Updates:
    """Return updates that clip as Keras does."""
    if clip.rule == "clipvalue":
        return updates._replace(value=clip.limit)
    of_weight = {id(w): n for n, each in enumerate(clip.variables) for w in each}
    if clip.rule == "global_clipnorm":
        of_weight = dict.fromkeys(of_weight, 0)
    found = [of_weight.get(id(each), -1) if each.requires_grad else -1 for each in weights]
    # counted from zero: there are no more variables than weights
    numbers = {number: n for n, number in enumerate(sorted({*found} - {-1}))}
    variables = np.array([numbers.get(number, -1) for number in found])
    return updates._replace(variables=variables, of_variable=clip.limit)


def limited(updates: Updates, trainer: Trainer) -> Updates:
    """Return updates with the Trainer's limit on gradients."""
    limit = max(0.0, float(trainer.gradient_clip_val or 0))  # none below, as for Lightning
    by_value = trainer.gradient_clip_algorithm == GradClipAlgorithmType.VALUE
    if not by_value:
        return updates._replace(norm=limit)
    both = [each for each in (limit, updates.value) if each]  # the optimiser may have one
    return updates._replace(value=min(both, default=0.0))
