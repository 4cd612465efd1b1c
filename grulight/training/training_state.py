"""Whether a checkpoint's training state is one that this run's optimisers could have left.

torch takes over what a file says of moments, options and schedules without a look at shapes, and
compiled code walks as many numbers as the weights have. What is right is asked of the optimiser
itself: a copy on torch's ``meta`` device, which has shapes and no numbers, takes a step.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import _configure_optimizers
from torch import Tensor, nn
from torch.optim import Optimizer

from grulight.checkpoint_files.rules import LARGEST, Unfit, shown

State = Mapping[str, Any]
# their roots are taken
_SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta")


class _Trial(NamedTuple):
    """A copy of a run's optimisers and schedulers, on weights without numbers."""

    optimizers: list[Optimizer]
    schedulers: list[Any]
    names: dict[int, str]  # of the weights, by the ids of their stand-ins


def require_training_state(checkpoint: State, module: LightningModule) -> None:
    """Check optimisers' and schedulers' states, and random numbers'.

    Args:
        checkpoint: One that keeps :mod:`grulight.checkpoint_files.format`, and whose weights fit.
        module: What goes on from it.

    Raises:
        Unfit: They are none of this run's.
    """
    trial = _trial(module)
    states, schedules = checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
    found, wanted = (len(states), len(schedules)), (len(trial.optimizers), len(trial.schedulers))
    if found != wanted:
        raise Unfit(f"it has {found} states of optimisers and schedulers, expected {wanted}")
    weights, steps = checkpoint["state_dict"], checkpoint["global_step"]
    for optimizer, state in zip(trial.optimizers, states, strict=True):
        _require_options(optimizer, state, steps)
        _require_moments(optimizer, state, trial.names, weights)
    for at, (scheduler, state) in enumerate(zip(trial.schedulers, schedules, strict=True)):
        if any(key == "optimizer" or callable(getattr(type(scheduler), key, 0)) for key in state):
            raise Unfit(f"lr_schedulers[{at}] has a key that no scheduler saves")
        _require_same_kind(scheduler.state_dict(), state, f"lr_schedulers[{at}]")
    for at, process in enumerate(checkpoint.get("processes", ())):
        try:
            torch.Generator().set_state(process["rng"])
        except RuntimeError:
            raise Unfit(f"processes[{at}].rng is no state of torch's generator") from None


def _trial(module: LightningModule) -> _Trial:
    chosen = module.configure_optimizers()
    optimizers, configs, _ = _configure_optimizers(chosen)  # type: ignore[arg-type]  # or None
    schedulers = [each["scheduler"] if isinstance(each, dict) else each for each in configs]
    stands_for: dict[int, Any] = {
        id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
        for weight in module.parameters()
    }
    names = {id(stands_for[id(held)]): name for name, held in module.named_parameters()}
    # the copy's weights are those in the memo
    copied = copy.deepcopy((optimizers, schedulers), dict(stands_for))
    return _Trial(*copied, names)


def _require_options(optimizer: Optimizer, state: State, steps: int) -> None:
    """Check the groups: as many weights, and options of the same kinds."""
    ours, theirs = optimizer.state_dict()["param_groups"], state["param_groups"]
    if [each["params"] for each in ours] != [list(each["params"]) for each in theirs]:
        raise Unfit("optimizer_states has other groups of weights than this run")
    for our, their in zip(ours, theirs, strict=True):
        _require_same_kind(our, their, "optimizer_states.param_groups")
        if not 0 <= their.get("step", 0) <= steps:
            raise Unfit(f"optimizer_states counts step {shown(their['step'])} of {steps}")


def _require_moments(
    optimizer: Optimizer, state: State, names: dict[int, str], weights: Mapping[str, Tensor]
) -> None:
    """Check that moments have the shapes and types that the optimiser itself gives them."""
    expected = _state_after_a_step(optimizer)
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    if any(at >= len(parameters) for at in state["state"]):
        raise Unfit("optimizer_states has moments of more weights than there are")
    for at, held in state["state"].items():
        name = names[id(parameters[at])]
        like = None if expected is None else expected[at]
        if held and like is not None and held.keys() != like.keys():
            raise Unfit(f"optimizer_states of {name} has {shown(str(list(held))[:40])}")
        for key, value in held.items():
            where = f"optimizer_states, {key} of {name},"[:120]
            if like is not None:
                _require_same_kind(like[key], value, where)
            if isinstance(value, Tensor):
                _require_finite(value, key, where)
                _require_type_of(weights[name], value, where)


def _require_type_of(weight: Tensor, value: Tensor, where: str) -> None:
    alike = value.shape == weight.shape != ()
    if alike and value.dtype != weight.dtype:
        raise Unfit(f"{where} is {shown(value)}, expected {weight.dtype}")


def _require_finite(value: Tensor, key: str, where: str) -> None:
    numbers = value.is_floating_point() or value.dtype in (torch.int64, torch.int32)
    if not numbers or value.requires_grad or not value.isfinite().all():
        raise Unfit(f"{where} is not finite, or no numbers")
    if key in (*_SQUARES, "step") and (value < 0).any():
        raise Unfit(f"{where} is negative")


def _state_after_a_step(optimizer: Optimizer) -> list[State] | None:
    """Return each weight's state after a step; None for optimisers that look at numbers."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for weight in weights:
        weight.grad = torch.empty_like(weight)
        for key, held in optimizer.state.get(weight, {}).items():
            if isinstance(held, Tensor) and held.dim():
                optimizer.state[weight][key] = held.to("meta")
    try:
        # a scheduler wraps the method of the original
        type(optimizer).step(optimizer)
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    return [optimizer.state[weight] for weight in weights]


def _require_same_kind(ours: Any, theirs: Any, where: str) -> None:
    """Check that a value is of the kind of another: of its type, finite, as long.

    Raises:
        Unfit: It is not.
    """
    expected = _kind_expected(ours, theirs)
    if expected is not None:
        raise Unfit(f"{where} is {shown(theirs)}, expected {expected}")
    if isinstance(ours, dict):
        for key in ours.keys() & theirs.keys():
            _require_same_kind(ours[key], theirs[key], f"{where}.{str(key)[:40]}")
    elif isinstance(ours, list | tuple):
        for our, their in zip(ours, theirs, strict=True):
            _require_same_kind(our, their, where)


def _kind_expected(ours: Any, theirs: Any) -> str | None:
    """Return what a value should be, or None where it is."""
    match ours:
        case Tensor():
            same = isinstance(theirs, Tensor) and theirs.shape == ours.shape
            return None if same else f"a tensor {tuple(ours.shape)}"
        case None:
            return "nothing" if isinstance(theirs, dict | list | tuple | set) else None
        case bool() | str():
            return None if type(theirs) is type(ours) else f"a {type(ours).__name__}"
        case int():
            right = type(theirs) is int and abs(theirs) <= LARGEST
            return None if right else "a whole number"
        case float():
            right = type(theirs) in (int, float) and abs(theirs) < math.inf
            return None if right or theirs == ours else "a finite number"
        case dict():
            return None if isinstance(theirs, dict) else "a dictionary"
        case list() | tuple():
            same = isinstance(theirs, list | tuple) and len(theirs) == len(ours)
            return None if same else f"a list of {len(ours)}"
    return None
