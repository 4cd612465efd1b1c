"""Keras' learning rate schedules: the rate of each step, in float32 as Keras computes it.

The equations are those of ``keras/src/optimizers/schedules/learning_rate_schedule.py`` (3.15), one
rounding for each of its operations. Powers, logarithms and cosines are rounded correctly;
TensorFlow's own are one unit in the last place off for some numbers, and which depends on the
processor.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Settings = Mapping[str, Any]
F32 = np.float32
_ONE, _HALF, _PI = F32(1), F32(0.5), F32(math.pi)


class Schedule:
    """The learning rate at each step, which Keras computes before the step is taken.

    Args:
        kind: One of `SCHEDULES`.
        settings: Its arguments in Keras' words.
    """

    def __init__(self, kind: str, settings: Settings) -> None:
        self.kind, self.settings = kind, {**settings}

    def __call__(self, step: int) -> float:
        """Return the rate at a step, counted from zero."""
        with np.errstate(all="ignore"):  # as Keras: what leads to no number stays none
            return float(SCHEDULES[self.kind](step, self.settings))


def _power(base: F32, exponent: F32) -> F32:
    return F32(np.power(np.float64(base), np.float64(exponent)))


def _progress(step: int, given: Settings) -> F32:
    """Return the share of `decay_steps` that lies behind, in whole ones if `staircase`."""
    share = F32(step) / F32(given["decay_steps"])
    return np.floor(share) if given["staircase"] else share


def exponential(step: int, given: Settings) -> F32:
    """Return `initial · decay_rate^(step / decay_steps)`."""
    decayed = _power(F32(given["decay_rate"]), _progress(step, given))
    return F32(given["initial_learning_rate"]) * decayed


def inverse_time(step: int, given: Settings) -> F32:
    """Return `initial / (1 + decay_rate · step / decay_steps)`."""
    slowed = _ONE + F32(given["decay_rate"]) * _progress(step, given)
    return F32(given["initial_learning_rate"]) / slowed


def polynomial(step: int, given: Settings) -> F32:
    """Return `(initial - end) · (1 - step / decay_steps)^power + end`, from anew if `cycle`."""
    count, steps = F32(step), F32(given["decay_steps"])
    if given["cycle"]:
        steps = steps * (_ONE if step == 0 else np.ceil(count / steps))
    else:
        count = min(count, steps)
    first, end = F32(given["initial_learning_rate"]), F32(given["end_learning_rate"])
    return (first - end) * _power(_ONE - count / steps, F32(given["power"])) + end


def _half_cosine(share: F32) -> F32:
    return _ONE + F32(np.cos(np.float64(_PI * share)))


def cosine(step: int, given: Settings) -> F32:
    """Return half a cosine from the first rate to `alpha` of it, after a straight line up to it."""
    count, steps = F32(step), F32(given["decay_steps"])
    first, target = F32(given["initial_learning_rate"]), given["warmup_target"]
    if target is not None:
        warm, target = F32(given["warmup_steps"]), F32(target)
        count = min(count, steps + warm)
        if count < warm:
            return (target - first) * (count / warm) + first
        count, first = count - warm, target
    left = _HALF * _half_cosine(min(count, steps) / steps)
    return first * (F32(1 - given["alpha"]) * left + F32(given["alpha"]))


def cosine_restarts(step: int, given: Settings) -> F32:
    """Return half cosines one after the other, each `t_mul` as long and `m_mul` as high."""
    share = F32(step) / F32(given["first_decay_steps"])
    longer, alpha = F32(given["t_mul"]), F32(given["alpha"])
    if longer == 1:
        restarts = np.floor(share)
        share = share - restarts
    else:
        grown = _log(_ONE - share * (_ONE - longer))
        restarts = np.floor(grown / _log(longer))
        before = (_ONE - _power(longer, restarts)) / (_ONE - longer)
        share = (share - before) / _power(longer, restarts)
    height = _HALF * _power(F32(given["m_mul"]), restarts)
    left = (_ONE - alpha) * (height * _half_cosine(share)) + alpha
    return F32(given["initial_learning_rate"]) * left


def _log(value: F32) -> F32:
    return F32(np.log(np.float64(value)))


def piecewise_constant(step: int, given: Settings) -> F32:
    """Return the value of the first boundary that the step does not exceed, or the last one."""
    passed = sum(step > int(boundary) for boundary in given["boundaries"])
    return F32(given["values"][passed])


SCHEDULES: dict[str, Callable[[int, Settings], F32]] = {
    "ExponentialDecay": exponential,
    "InverseTimeDecay": inverse_time,
    "PolynomialDecay": polynomial,
    "CosineDecay": cosine,
    "CosineDecayRestarts": cosine_restarts,
    "PiecewiseConstantDecay": piecewise_constant,
}
