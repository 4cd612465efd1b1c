"""Constant tensors that a file holds among the arguments of calls, in torch."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from grulight.errors import InputError
from grulight.keras_files.plan.spec import Call, Constant, LayerSpec
from grulight.keras_files.reader.untrusted_text import quote


def constant_tensors(calls: Iterable[Call]) -> dict[Constant, Tensor]:
    """Return the tensors of the constants in some calls: float64, int64 or bool."""
    held = {each for call in calls for each in call.inputs if isinstance(each, Constant)}
    return {each: _tensor(each) for each in held}


def _tensor(held: Constant) -> Tensor:
    wide = torch.float64 if any(isinstance(each, float) for each in held.numbers) else None
    return torch.tensor(held.numbers, dtype=wide).reshape(held.shape)


def placed(value: Tensor, model: nn.Module) -> Tensor:
    """Return a constant where a model is, floats in the type that the model computes in."""
    parameters = [each for each in model.parameters() if each.dtype.is_floating_point]
    if not parameters:
        return value.to(torch.get_default_dtype()) if value.is_floating_point() else value
    dtype = parameters[0].dtype if value.is_floating_point() else value.dtype
    return value.to(parameters[0].device, dtype)


def require_constants(layer: LayerSpec, call: Call, operation: bool) -> None:
    """Refuse constants of layers that would take them for a batch, and ids outside a table.

    Raises:
        InputError: The call has such a constant.
    """
    held = [each for each in call.inputs if isinstance(each, Constant)]
    if held and layer.kind == "Embedding":
        most = layer.integer("input_dim")
        if not all(0 <= number < most for each in held for number in each.numbers):
            raise layer.refuse("input_dim", "one above the ids of its constant tensor, all >= 0")
    elif held and not operation:
        raise InputError(
            f"layer {quote(layer.name)} ({layer.kind}) is called with a constant tensor, which is "
            "not supported yet; give the tensor as an input of the model."
        )
