"""The optimisers' rules in torch, with settings that are read from a tensor.

They are those of ``kernels.numba_update`` in the operations, and so with the bits, of the
optimisers themselves: Keras' of ``grulight.optim``, torch's of ``torch.optim``. As nothing but
what a group has or has not (momentum, say) is asked on the host, a CUDA graph can hold a step.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from grulight.kernels import rules
from grulight.kernels.reference import Array
from grulight.kernels.rules import Updates
from grulight.optim import roots

Row = Tensor  # (COLUMNS,)


class Has(NamedTuple):
    """What the settings of a group have."""

    flag: bool
    momentum: bool
    decay: bool


class Moved(NamedTuple):
    """A parameter, or all of them flat, with the moments of ``kernels.steps.State``."""

    parameters: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    third: Tensor


def what_groups_have(rows: Array) -> Array:
    """Return what the settings (…, COLUMNS) have, as ``Has`` names it: (…, 3) bool."""
    found: Array = rows[..., [rules.FLAG, rules.MOMENTUM, rules.DECAY]] != 0
    return found


def update(
    moved: Sequence[Moved], gradients: Sequence[Tensor], updates: Updates, rows: Tensor
) -> None:
    """Move parameters by one step.

    Args:
        moved: Each parameter, moved in place.
        gradients: Of each, changed in place.
        updates: Of which step whatsoever: numbers are not taken from its rows.
        rows: (groups, COLUMNS) the settings.
    """
    groups = [0] * len(moved) if updates.groups is None else updates.groups.tolist()
    rule, has = _RULES[updates.rule], [Has(*each) for each in what_groups_have(updates.rows[0])]
    _limit([g for g, group in zip(gradients, groups, strict=True) if group >= 0], updates)
    _limit_variables(gradients, updates)
    for each, gradient, group in zip(moved, gradients, groups, strict=True):
        if group >= 0:
            rule(each, gradient, rows[group], has[group])


def _limit(gradients: list[Tensor], updates: Updates) -> None:
    if updates.norm:
        total = torch.nn.utils.get_total_norm(gradients)
        share = torch.clamp(updates.norm / (total + 1e-6), max=1.0)  # as clip_grad_norm_
        torch._foreach_mul_(gradients, share)
    if updates.value:
        torch._foreach_clamp_min_(gradients, -updates.value)
        torch._foreach_clamp_max_(gradients, updates.value)


def _limit_variables(gradients: Sequence[Tensor], updates: Updates) -> None:
    """Limit the norm of each variable's gradient as ``optimizer_base.Clipping`` does."""
    if not updates.of_variable or updates.variables is None:
        return
    numbers = updates.variables.tolist()
    for number in sorted({*numbers} - {-1}):
        own = [g for g, each in zip(gradients, numbers, strict=True) if each == number]
        norm = torch.stack([gradient.square().sum() for gradient in own]).sum().sqrt()
        torch._foreach_mul_(own, updates.of_variable)
        torch._foreach_div_(own, norm.clamp(min=updates.of_variable))


def _shrink(w: Tensor, row: Row, has: Has) -> None:
    if has.decay:
        w.sub_(w * row[rules.DECAY] * row[rules.RATE])


def _keras_adam(moved: Moved, g: Tensor, row: Row, has: Has) -> None:
    w, mean, square, largest = moved
    _shrink(w, row, has)
    mean.add_((g - mean) * row[rules.NEW])
    square.add_((g * g - square) * row[rules.NEW_SQUARE])
    if has.flag:
        torch.maximum(largest, square, out=largest)
    [root] = roots((largest if has.flag else square,))
    w.sub_(mean * row[rules.STEP_SIZE] / (root + row[rules.EPSILON]))


def _adam(moved: Moved, g: Tensor, row: Row, has: Has) -> None:
    w, mean, square, largest = moved
    if has.decay:
        g = torch.addcmul(g, w, row[rules.DECAY])
    w.mul_(row[rules.SHRUNK])
    mean.lerp_(g, row[rules.NEW])
    square.mul_(row[rules.KEPT]).addcmul_(g * row[rules.NEW_SQUARE], g)
    if has.flag:
        torch.maximum(largest, square, out=largest)
    root = (largest if has.flag else square).sqrt()
    w.add_(mean * -row[rules.STEP_SIZE] / (root / row[rules.ROOT] + row[rules.EPSILON]))


def _keras_rmsprop(moved: Moved, g: Tensor, row: Row, has: Has) -> None:
    w, square, move, mean = moved
    _shrink(w, row, has)
    square.mul_(row[rules.KEPT]).add_(g * g * row[rules.NEW_SQUARE])
    around = square
    if has.flag:
        mean.mul_(row[rules.KEPT]).add_(g * row[rules.NEW_SQUARE])
        around = square - mean * mean
    [root] = roots((around + row[rules.EPSILON],))
    step = g * row[rules.RATE] / root
    w.sub_(move.mul_(row[rules.MOMENTUM]).add_(step) if has.momentum else step)


def _rmsprop(moved: Moved, g: Tensor, row: Row, has: Has) -> None:
    w, square, move, mean = moved
    if has.decay:
        g = torch.addcmul(g, w, row[rules.DECAY])
    square.mul_(row[rules.KEPT]).addcmul_(g * row[rules.NEW_SQUARE], g)
    around = square
    if has.flag:
        mean.lerp_(g, row[rules.NEW_SQUARE])
        around = square.addcmul(mean, mean, value=-1)
    root = around.sqrt() + row[rules.EPSILON]
    if has.momentum:
        w.addcmul_(move.mul_(row[rules.MOMENTUM]).add_(g / root), -row[rules.RATE])
    else:
        w.add_(g * -row[rules.RATE] / root)


def _keras_sgd(moved: Moved, g: Tensor, row: Row, has: Has) -> None:
    w, velocity = moved[:2]
    _shrink(w, row, has)
    move = g * -row[rules.RATE]
    if has.momentum:
        velocity.mul_(row[rules.MOMENTUM]).add_(move)
        move = velocity * row[rules.MOMENTUM] + move if has.flag else velocity
    w.add_(move)


def _sgd(moved: Moved, g: Tensor, row: Row, has: Has) -> None:
    w, kept = moved[:2]
    if has.decay:
        g = torch.addcmul(g, w, row[rules.DECAY])
    if has.momentum:
        kept.mul_(row[rules.MOMENTUM]).addcmul_(g, row[rules.NEW])
        g = torch.addcmul(g, kept, row[rules.MOMENTUM]) if has.flag else kept
    w.addcmul_(g, -row[rules.RATE])


_RULES: dict[int, Callable[[Moved, Tensor, Row, Has], None]] = {
    rules.KERAS_ADAM: _keras_adam,
    rules.KERAS_RMSPROP: _keras_rmsprop,
    rules.KERAS_SGD: _keras_sgd,
    rules.ADAM: _adam,
    rules.RMSPROP: _rmsprop,
    rules.SGD: _sgd,
}
