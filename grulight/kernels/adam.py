"""The step size of Keras' Adam, as ``KerasAdam`` and the compiled training steps both take it."""

from ctypes import c_float
from functools import lru_cache
from typing import Any

import numpy as np


def round_to_float32(value: float) -> float:
    """Return the float32 nearest to ``value``."""
    return c_float(value).value


def step_size(lr: float, betas: tuple[float, float], step: int, *, double: bool) -> float:
    """Return Adam's learning rate at a step, corrected for moments that start at zero.

    ``lr * sqrt(1 - beta2**step) / (1 - beta1**step)`` (Kingma and Ba 2015, section 2), with the
    rounding of every operation in ``keras/src/optimizers/adam.py``: Keras rounds lr and the betas
    to float32, also where the weights are float64.

    Args:
        lr: Learning rate.
        betas: Decay of the two moments.
        step: Steps taken, this one included.
        double: Whether the weights are float64.
    """
    # as numbers: a rate that is a tensor may have been moved in place
    one, rate, beta1, beta2 = _rounded(double, float(lr), *map(float, betas))
    count = type(one)(step)
    return float(rate * np.sqrt(one - beta2**count) / (one - beta1**count))


@lru_cache(maxsize=16)  # made anew, they take half of a step's time
def _rounded(double: bool, *settings: float) -> tuple[Any, ...]:
    number = np.float64 if double else np.float32
    return number(1), *(number(np.float32(each)) for each in settings)
