"""Constant tensors that a file holds among the arguments of calls and in settings, in torch."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from grulight.errors import InputError
from grulight.keras_files.plan.constants import Constant
from grulight.keras_files.plan.spec import Call, LayerSpec, Shape
from grulight.keras_files.reader.untrusted_text import quote


def constant_tensors(calls: Iterable[Call]) -> dict[Constant, Tensor]:
    """Return the tensors of the constants in some calls: float64, int64 or bool."""
    held = {each for call in calls for each in call.inputs if isinstance(each, Constant)}
    return {each: _tensor(each) for each in held}


def _tensor(held: Constant) -> Tensor:
    wide = torch.float64 if any(isinstance(each, float) for each in held.numbers) else None
    return torch.tensor(held.numbers, dtype=wide).reshape(held.shape)


def setting(spec: LayerSpec, key: str, default: float | None = None) -> float | Tensor:
    """Return a setting that is a number, or an array of some as a tensor of float64."""
    given = spec.numbers(key, default)
    return _tensor(given).double() if isinstance(given, Constant) else given


def require_along(spec: LayerSpec, key: str, shape: Shape) -> None:
    """Refuse a setting that is an array which does not lie along an input.

    Raises:
        InputError: It has more axes, or other sizes than 1 and the input's.
    """
    given = spec.numbers(key, 0.0)
    if not isinstance(given, Constant):
        return
    sizes = zip(given.shape[::-1], shape[::-1], strict=False)
    batch = given.shape[:1] if len(given.shape) == len(shape) else (1,)
    fits = batch == (1,) and all(ours == 1 or theirs in (None, ours) for ours, theirs in sizes)
    if len(given.shape) > len(shape) or not fits:
        raise spec.refuse(key, f"a number, or an array that lies along an input of {shape}")


def beside(value: float | Tensor, x: Tensor) -> float | Tensor:
    """Return a setting where an input is, in its type, or torch's default for one of integers."""
    if not isinstance(value, Tensor):
        return value
    return value.to(x.device, x.dtype if x.is_floating_point() else torch.get_default_dtype())


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
