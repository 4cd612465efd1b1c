"""How a Trainer's optimiser updates, in the words of the compiled steps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer, RMSprop

from grulight.errors import InputError
from grulight.kernels.rules import SUMMED, WAITS, Updates
from grulight.kernels.steps import State
from grulight.optimizer_base import ACCUMULATED, KEPT, KerasOptimizer
from grulight.training import reasons
from grulight.training.clipping import clipped, known
from grulight.training.optimizer_rules import RULES, Group

Weights = Sequence[Tensor]
_UNKNOWN = ("maximize", "capturable", "differentiable")  # options of no rule here


def why_not_compiled(optimizer: Optimizer, weights: Weights) -> reasons.Reason | None:
    """Return why compiled steps do not know how an optimiser updates weights; None if they do."""
    if type(optimizer) not in RULES:
        return reasons.OPTIMIZER.of(type(optimizer).__name__)
    if not set(_groups(optimizer)) <= set(map(id, weights)):
        return reasons.MORE
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return reasons.HOOKS
    options = [name for group in optimizer.param_groups for name in _UNKNOWN if group.get(name)]
    if isinstance(optimizer, KerasOptimizer):
        options += ["constraints"] * (optimizer.constrain is not None)
        options += ["clipping of its own"] * (not known(optimizer.clip, weights))
    if options:
        return reasons.OPTION.of(options[0])
    several = any(len(set(_ages(optimizer, group))) > 1 for group in optimizer.param_groups)
    return reasons.AGES if several else None


def _groups(optimizer: Optimizer) -> dict[int, int]:
    """Return the number of each weight's group, by the weight's id."""
    groups = enumerate(optimizer.param_groups)
    return {id(weight): number for number, group in groups for weight in group["params"]}


def _numbers(optimizer: Optimizer, weights: Weights) -> list[int]:
    """Return the number of the group that each weight is moved with; below zero for none."""
    of_weight = _groups(optimizer)
    return [of_weight.get(id(weight), -1) if weight.requires_grad else -1 for weight in weights]


def _moved(group: Group) -> list[Tensor]:
    return [weight for weight in group["params"] if weight.requires_grad]


def _ages(optimizer: Optimizer, group: Group) -> list[tuple[float, bool]]:
    """Return the steps that each weight of a group has taken, and whether it has moments."""
    states = [optimizer.state.get(weight, {}) for weight in _moved(group)]
    slots = RULES[type(optimizer)].slots(group)
    return [
        (
            float(state.get("step", group.get("step", 0))),
            all(state.get(name) is not None for name in slots if name),
        )
        for state in states
    ]


def updates_of(
    optimizer: Optimizer, weights: Weights, count: int, go_on: Callable[[], None]
) -> Updates:
    """Return how an optimiser's next steps update.

    Args:
        optimizer: Which ``why_not_compiled`` has nothing against; its rates end after these steps.
        weights: Of the network, in its order.
        count: How many steps.
        go_on: Changes the optimiser's settings after a step, as schedulers do; it is not called
            after the last one.
    """
    rule = RULES[type(optimizer)]
    each = getattr(optimizer, "accumulate", 1)  # batches that make a step in Keras' optimisers
    waited = optimizer.param_groups[0].get(KEPT, 0)
    double = weights[0].dtype == torch.float64
    ages = [(_ages(optimizer, group) or [(0.0, True)])[0] for group in optimizer.param_groups]
    schedule = getattr(optimizer, "schedule", None)
    rows = []
    for n in range(count):
        if schedule is not None:
            for group in optimizer.param_groups:
                group["lr"] = schedule(group["step"] * each + waited + n)
        rows.append(
            [
                rule.row(group, int(done) + (waited + n) // each + 1, not n and not kept, double)
                for group, (done, kept) in zip(optimizer.param_groups, ages, strict=True)
            ]
        )
        if n + 1 < count:
            go_on()
    found = np.array(rows)
    if each > 1:
        found[:, :, SUMMED] = each
        found[:, :, WAITS] = ((waited + 1 + np.arange(count)) % each != 0)[:, None]
    updates = Updates(rule.number, found, np.array(_numbers(optimizer, weights)))
    clip = getattr(optimizer, "clip", None)
    return updates if clip is None else clipped(updates, clip, weights)


def state_of(optimizer: Optimizer, weights: Weights) -> State:
    """Return the weights and the optimiser's moments as compiled steps move them: copies."""
    found, numbers = [_flat(weights)], _numbers(optimizer, weights)
    for slot, of_group in enumerate(_slots(optimizer)):
        names = ["" if number < 0 else of_group[number] for number in numbers]
        if slot > 1 and not any(names):
            found.append(None)
            continue
        parts = [
            _moment(optimizer, weight, name) if name else torch.zeros_like(weight)
            for weight, name in zip(weights, names, strict=True)
        ]
        found.append(_flat(parts))
    return State(*found)


def take_over(optimizer: Optimizer, weights: Weights, state: State, count: int) -> None:
    """Let weights and moments be what so many compiled steps have made of them."""
    slots, at = _slots(optimizer), 0
    for weight, number in zip(weights, _numbers(optimizer, weights), strict=True):
        part = slice(at, at + weight.numel())
        at = part.stop
        if number < 0:
            continue
        weight.detach().numpy().reshape(-1)[:] = state.parameters[part]
        kept = optimizer.state[weight]
        for of_group, moments in zip(slots, state[1:], strict=True):
            if of_group[number] and moments is not None:
                kept[of_group[number]].numpy().reshape(-1)[:] = moments[part]
    count_on(optimizer, weights, count)


def count_on(optimizer: Optimizer, weights: Weights, count: int) -> None:
    """Let an optimiser have taken so many steps more."""
    each = getattr(optimizer, "accumulate", 1)
    for group in optimizer.param_groups:
        if "step" in group:
            waited = group.get(KEPT, 0) + count
            group["step"] += waited // each
            group |= {KEPT: waited % each} if each > 1 else {}
    for weight, number in zip(weights, _numbers(optimizer, weights), strict=True):
        if number >= 0 and isinstance(optimizer, Adam | RMSprop):
            kept = optimizer.state[weight]
            kept["step"] = kept.get("step", torch.tensor(0.0, dtype=torch.float32)) + count
    optimizer._opt_called = True  # type: ignore[attr-defined]  # else schedulers warn


def moments_of(optimizer: Optimizer, weights: Weights) -> list[dict[int, Tensor]]:
    """Return, for each slot of a ``State``, the moments that weights have, by their places."""
    numbers = _numbers(optimizer, weights)
    return [
        {
            place: _moment(optimizer, weights[place], of_group[number])
            for place, number in enumerate(numbers)
            if number >= 0 and of_group[number]
        }
        for of_group in _slots(optimizer)
    ]


def _slots(optimizer: Optimizer) -> list[tuple[str, ...]]:
    """Return what each of the four moments of a ``State`` is called in each group, or nothing."""
    slots, groups = RULES[type(optimizer)].slots, optimizer.param_groups
    sums = ACCUMULATED if getattr(optimizer, "accumulate", 1) > 1 else ""
    named = [(*slots(group), "", "", "")[:3] for group in groups]
    return [*zip(*named, strict=True), (sums,) * len(groups)]


def _flat(tensors: Weights) -> Any:
    return np.concatenate([each.detach().numpy().reshape(-1) for each in tensors])


def _moment(optimizer: Optimizer, weight: Tensor, name: str) -> Tensor:
    """Return a weight's moment, which is zero at first."""
    state = optimizer.state[weight]
    if state.get(name) is None:
        state[name] = torch.zeros_like(weight)
    _require_like(name, state[name], weight)
    state[name] = state[name].contiguous()  # it is moved in place
    held: Tensor = state[name]
    return held


def _require_like(name: str, moment: object, weight: Tensor) -> None:
    ours = getattr(moment, "dtype", None), getattr(moment, "shape", ())
    if type(moment) is not Tensor or ours != (weight.dtype, weight.shape):
        raise InputError(
            f"the optimiser's {name} is {ours[0]} of shape {tuple(ours[1])}, expected "
            f"{weight.dtype} of {tuple(weight.shape)} as its weight is. The checkpoint that was "
            "resumed is damaged; start from another."
        )
