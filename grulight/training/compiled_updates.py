"""How a Trainer's optimiser updates, in the words of the compiled steps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer, RMSprop

from grulight.errors import InputError
from grulight.kernels.rules import Updates
from grulight.kernels.steps import State
from grulight.optimizer_base import KerasOptimizer
from grulight.training import reasons
from grulight.training.optimizer_rules import RULES, Group

Weights = Sequence[Tensor]
_UNKNOWN = ("amsgrad", "maximize", "capturable", "differentiable")  # options of no rule here
_AROUND = {"clip": "Keras' clipping", "constrain": "constraints"}  # of a KerasOptimizer


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
        options += [what for name, what in _AROUND.items() if getattr(optimizer, name)]
        options += ["gradient_accumulation_steps"] * (optimizer.accumulate != 1)
    if options:
        return reasons.OPTION.of(options[0])
    several = any(len(set(_ages(optimizer, group))) > 1 for group in optimizer.param_groups)
    return reasons.AGES if several else None


def _groups(optimizer: Optimizer) -> dict[int, int]:
    """Return the number of each weight's group, by the weight's id."""
    groups = enumerate(optimizer.param_groups)
    return {id(weight): number for number, group in groups for weight in group["params"]}


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
        optimizer: Which ``why_not_compiled`` has nothing against; its learning rates end where
            they do after these steps.
        weights: Of the network, in its order.
        count: How many steps.
        go_on: Changes the optimiser's settings after a step, as schedulers do; it is not called
            after the last one.
    """
    rule, of_weight = RULES[type(optimizer)], _groups(optimizer)
    double = weights[0].dtype == torch.float64
    ages = [(_ages(optimizer, group) or [(0.0, True)])[0] for group in optimizer.param_groups]
    schedule = getattr(optimizer, "schedule", None)
    rows = []
    for n in range(count):
        if schedule is not None:
            for group in optimizer.param_groups:
                group["lr"] = schedule(group["step"] + n)
        rows.append(
            [
                rule.row(group, int(done) + n + 1, not n and not kept, double)
                for group, (done, kept) in zip(optimizer.param_groups, ages, strict=True)
            ]
        )
        if n + 1 < count:
            go_on()
    groups = [of_weight.get(id(weight), -1) if weight.requires_grad else -1 for weight in weights]
    return Updates(rule.number, np.array(rows), np.array(groups))


def state_of(optimizer: Optimizer, weights: Weights) -> State:
    """Return the weights and the optimiser's moments as compiled steps move them: copies."""
    found, of_weight = [_flat(weights)], _groups(optimizer)
    for slot in range(3):
        parts = []
        for weight in weights:
            number = of_weight.get(id(weight), -1) if weight.requires_grad else -1
            name = "" if number < 0 else _slot(optimizer, optimizer.param_groups[number], slot)
            parts.append(_moment(optimizer, weight, name) if name else torch.zeros_like(weight))
        found.append(_flat(parts))
    return State(*found)


def take_over(optimizer: Optimizer, weights: Weights, state: State, count: int) -> None:
    """Let weights and moments be what so many compiled steps have made of them."""
    for group in optimizer.param_groups:
        if "step" in group:
            group["step"] += count
    of_weight, at = _groups(optimizer), 0
    for weight in weights:
        part = slice(at, at + weight.numel())
        at = part.stop
        number = of_weight.get(id(weight), -1)
        if number < 0 or not weight.requires_grad:
            continue
        weight.detach().numpy().reshape(-1)[:] = state.parameters[part]
        group, kept = optimizer.param_groups[number], optimizer.state[weight]
        for slot, moments in enumerate(state[1:]):
            name = _slot(optimizer, group, slot)
            if name and moments is not None:
                kept[name].numpy().reshape(-1)[:] = moments[part]
        if isinstance(optimizer, Adam | RMSprop):
            kept["step"] = kept.get("step", torch.tensor(0.0, dtype=torch.float32)) + count
    optimizer._opt_called = True  # type: ignore[attr-defined]  # else schedulers warn


def _slot(optimizer: Optimizer, group: Group, number: int) -> str:
    names = RULES[type(optimizer)].slots(group)
    return names[number] if number < len(names) else ""


def _flat(tensors: Weights) -> Any:
    return np.concatenate([each.detach().numpy().reshape(-1) for each in tensors])


def _moment(optimizer: Optimizer, weight: Tensor, name: str) -> Tensor:
    """Return a weight's moment, which is zero at first."""
    state = optimizer.state[weight]
    if state.get(name) is None:
        state[name] = torch.zeros_like(weight)
    _require_like(name, state[name], weight.data)
    state[name] = state[name].contiguous()  # it is moved in place
    held: Tensor = state[name]
    return held


def _require_like(name: str, moment: object, weight: Tensor) -> None:
    ours, theirs = (
        (type(each), getattr(each, "dtype", None), tuple(getattr(each, "shape", ())))
        for each in (moment, weight)
    )
    if ours != theirs:
        raise InputError(
            f"the optimiser's {name} is {ours[1]} of shape {ours[2]}, expected {theirs[1]} of "
            f"{theirs[2]} as its weight is. The checkpoint that was resumed is damaged; "
            "start from another."
        )
