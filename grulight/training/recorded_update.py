"""How a recorded step moves the parameters: in one kernel where Triton has it, else in torch."""

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from grulight.kernels.rules import Updates
from grulight.training import flat_updates
from grulight.training.static_tensors import StaticTensors


def mover(tensors: StaticTensors, updates: Updates) -> Callable[[], None]:
    """Return what moves the parameters by the gradients of the step that is next.

    Args:
        tensors: What it reads and writes.
        updates: Of a step of the same kind; see ``kinds``.
    """
    if has_kernel(tensors.flat.parameters):
        return _in_triton(tensors, updates)

    def move() -> None:
        rows = tensors.rows.index_select(0, tensors.at)[0]
        flat_updates.update(tensors.moved, tensors.of_each, updates, rows)

    return move


def has_kernel(parameters: Tensor) -> bool:
    """Return whether a kernel of ours moves flat parameters."""
    triton = find_spec("triton") is not None
    return parameters.is_cuda and parameters.dtype == torch.float32 and triton


def _in_triton(tensors: StaticTensors, updates: Updates) -> Callable[[], None]:
    from grulight.kernels import triton_update

    sizes = [each.numel() for each in tensors.of_each]
    settings = triton_update.settings_of(updates, sizes, tensors.at.device)
    settings = settings._replace(rows=tensors.rows)
    state = triton_update.FlatState(*tensors.flat)

    def move() -> None:
        triton_update.update(state, tensors.gradients, settings, tensors.at)

    return move


def kinds(updates: Updates) -> list[tuple[object, ...]]:
    """Return what each of updates has that a recorded step cannot read on the device."""
    arrays = updates.groups, updates.variables
    limits = updates.norm, updates.value, updates.of_variable
    who = (None if each is None else tuple(each.tolist()) for each in arrays)
    common = updates.rule, *limits, *who
    found = flat_updates.what_groups_have(updates.rows)
    if (found == found[:1]).all():  # else a schedule ends a momentum, say
        return [(common, found[0].tobytes())] * len(found)
    return [(common, each.tobytes()) for each in found]
