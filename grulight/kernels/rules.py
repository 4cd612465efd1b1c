"""How steps update parameters, as rows of settings for ``numba_update``."""

from typing import NamedTuple

import numpy as np

from grulight.kernels.adam import round_to_float32, step_size
from grulight.kernels.reference import Array

KERAS_ADAM, KERAS_RMSPROP, KERAS_SGD, ADAM, RMSPROP, SGD = range(6)

# Columns of a row: each rule takes those that it needs.
RATE, EPSILON, DECAY, KEPT, NEW, NEW_SQUARE, STEP_SIZE, ROOT, MOMENTUM, FLAG, SHRUNK = range(11)
# Of every rule: over how many batches gradients are summed, 0 for one, and if there are more of
# these to come before a step.
SUMMED, WAITS = 11, 12
COLUMNS = 13


class Adam(NamedTuple):
    """The settings of ``grulight.optim.KerasAdam``."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-7
    weight_decay: float = 0.0


class Updates(NamedTuple):
    """How each of several steps updates.

    Attributes:
        rule: One of those above.
        rows: (batches, groups, COLUMNS) its settings, for each group of parameters.
        groups: (parameters,) the group of each; below zero for one that stays. None for one group.
        norm: What the norm of all gradients is limited to; 0 for no limit.
        value: What each gradient is limited to; 0 for no limit.
        variables: (parameters,) which of Keras' variables each is a part of; below zero for none.
        of_variable: What the norm of each variable's gradient is limited to then; 0 for no limit.
    """

    rule: int
    rows: Array
    groups: Array | None = None
    norm: float = 0.0
    value: float = 0.0
    variables: Array | None = None
    of_variable: float = 0.0


def accumulating(updates: Updates, each: int, batches: int) -> Updates:
    """Return updates of batches, so many of which make a step of those that are given.

    The step moves by the mean gradient; where the last has fewer, the others count as zero.
    """
    if each == 1:
        return updates
    rows = np.repeat(updates.rows, each, axis=0)[:batches]
    rows[:, :, SUMMED], rows[:, :, WAITS] = each, 1
    rows[each - 1 :: each, :, WAITS] = 0
    rows[-1, :, WAITS] = 0
    return updates._replace(rows=rows)


def row(**columns: float) -> list[float]:
    """Return a row of settings by the names of its columns."""
    found = [0.0] * COLUMNS
    for name, value in columns.items():
        found[globals()[name.upper()]] = value
    return found


def keras_adam_row(adam: Adam, step: int, *, double: bool) -> list[float]:
    """Return the settings of Keras' Adam for a step, which is counted from one."""
    found = [0.0] * COLUMNS  # not by name: there is one for each step
    found[RATE] = round_to_float32(adam.lr)
    found[EPSILON] = adam.eps
    found[DECAY] = round_to_float32(adam.weight_decay)
    found[NEW], found[NEW_SQUARE] = 1 - adam.betas[0], 1 - adam.betas[1]
    found[STEP_SIZE] = step_size(adam.lr, adam.betas, step, double=double)
    return found


def keras_adam(adam: Adam, step: int, count: int, *, double: bool) -> Updates:
    """Return the updates of steps that follow so many others."""
    rows = [[keras_adam_row(adam, step + n, double=double)] for n in range(1, count + 1)]
    return Updates(KERAS_ADAM, np.array(rows))
