"""A training whose numbers are no longer finite is over: its next checkpoint would be worthless."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from grulight.errors import InputError, option


class Diverged(InputError):
    """A training that has numbers which are not finite."""


def require_finite_loss(loss: float, epoch: int, step: int) -> None:
    """Stop a training that has diverged.

    Args:
        loss: Of a step, or of an epoch up to a step.
        epoch: Counted from 0.
        step: Optimiser steps so far, this one included.

    Raises:
        Diverged: The loss is not finite.
    """
    if not math.isfinite(loss):
        raise _diverged(f"the loss is {loss}", epoch, step)


def require_finite_weights(weights: Mapping[str, Tensor], epoch: int, step: int) -> None:
    """Stop a training before it writes weights that answer nothing.

    Args:
        weights: By name.
        epoch: Counted from 0.
        step: Optimiser steps so far.

    Raises:
        Diverged: A weight is not finite.
    """
    numbers = {name: each for name, each in weights.items() if each.is_floating_point()}
    sums = [each.sum().float() for each in numbers.values()]
    # one number to wait for; a sum that is not finite may also be that of large weights
    if not sums or math.isfinite(float(torch.stack(sums).sum())):
        return
    for name, each in numbers.items():
        if not each.isfinite().all():
            raise _diverged(f"{name} is not finite", epoch, step)


def _diverged(what: str, epoch: int, step: int) -> Diverged:
    return Diverged(
        f"training has diverged: in epoch {epoch + 1}, at step {step}, {what}. The steps or the "
        f"features are too large: try a smaller {option('optimizer.lr')}, "
        f"{option('trainer.gradient_clip_val', 1)} or {option('data.standardize', True)}. "
        "Checkpoints written before are kept."
    )
