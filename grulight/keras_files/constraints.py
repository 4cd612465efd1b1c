"""What constraints of layers do to their variables after each step, as Keras does it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from grulight.keras_files.layers.base import KerasLayer
from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.variables_in_torch import keras_variables, setting_of

EPSILON = 1e-7  # `keras.config.epsilon()`
# by the class, its arguments and Keras' defaults; Keras 1 calls MaxNorm's `m`
KINDS: dict[str, dict[str, float]] = {
    "MaxNorm": {"max_value": 2.0},
    "MinMaxNorm": {"min_value": 0.0, "max_value": 1.0, "rate": 1.0},
    "NonNeg": {},
    "UnitNorm": {},
}
_WORDS = {
    **{"max_norm": "MaxNorm", "maxnorm": "MaxNorm", "min_max_norm": "MinMaxNorm"},
    **{"non_neg": "NonNeg", "nonneg": "NonNeg", "unit_norm": "UnitNorm", "unitnorm": "UnitNorm"},
}


@dataclass(frozen=True)
class Rule:
    """What a constraint asks for.

    Attributes:
        kind: One of `KINDS`.
        settings: Its arguments in Keras' words, but for the axes.
        axes: Over which a norm is taken, in Keras' layout; none for the norm of all numbers.
    """

    kind: str
    settings: Mapping[str, float]
    axes: tuple[int, ...]

    def __call__(self, weights: Tensor) -> Tensor:
        """Return weights in Keras' layout as the rule wants them."""
        if self.kind == "NonNeg":
            return weights.clamp(min=0)
        squares = weights.square()
        norms = (squares.sum(self.axes, keepdim=True) if self.axes else squares.sum()).sqrt()
        if self.kind == "UnitNorm":
            return weights / (EPSILON + norms)
        least, most = self.settings.get("min_value", 0.0), self.settings["max_value"]
        desired = norms.clamp(least, most)
        if self.kind == "MinMaxNorm":
            rate = self.settings["rate"]
            desired = rate * desired + (1 - rate) * norms
        return weights * (desired / (EPSILON + norms))


@dataclass(frozen=True)
class Constraint:
    """A rule for one variable.

    Attributes:
        setting: Its layer's setting, such as `kernel_constraint`.
        layer: The name of the layer.
        rule: What it asks for.
        parameters: What the variable is made of in torch.
        places: For each number in Keras' layout its place among the numbers of the parameters.
    """

    setting: str
    layer: str
    rule: Rule
    parameters: tuple[nn.Parameter, ...]
    places: Tensor

    def apply(self) -> None:
        """Change the parameters in place."""
        numbers = torch.cat([each.detach().reshape(-1) for each in self.parameters])
        places = self.places.to(numbers.device)
        numbers[places] = self.rule(numbers[places])
        parts = torch.split(numbers, [each.numel() for each in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))


@dataclass
class Constraints:
    """All constraints of a model, for an optimiser to call after each step."""

    held: tuple[Constraint, ...]

    @torch.no_grad()
    def __call__(self) -> None:
        """Change the parameters that have a gradient, as Keras does."""
        for each in self.held:
            if any(parameter.grad is not None for parameter in each.parameters):
                each.apply()


def constraints_of(model: nn.Module) -> Iterator[Constraint]:
    """Yield the constraints of a model's weights that train."""
    for layer, name, parameters in keras_variables(model, lambda layer: bool(layer.constraints)):
        setting = setting_of(name, layer.constraints, "constraint")
        rule = read_constraint(layer.constraints.get(setting))
        if rule is None or not all(each.requires_grad for each in parameters):
            continue
        places = _places(layer, name, parameters)
        if all(-places.dim() <= axis < places.dim() for axis in rule.axes):
            yield Constraint(setting, layer.keras_name, rule, tuple(parameters), places)


def _places(layer: KerasLayer, name: str, parameters: list[nn.Parameter]) -> Tensor:
    """Ask a layer for the variable with every number's own place in the number's stead."""
    starts, start = {}, 0
    for each in parameters:
        starts[id(each)], start = start, start + each.numel()

    def counted(each: Tensor) -> Tensor:
        first = starts.get(id(each), 0)
        counts = torch.arange(first, first + each.numel(), dtype=torch.float64)
        return counts.view(each.shape)

    return torch.from_numpy(np.asarray(layer.to_keras(counted)[name]).astype(np.int64))


def read_constraint(value: Json) -> Rule | None:
    """Return the rule of a constraint; None for any other than Keras', or for none."""
    settings: Json = {}
    if isinstance(value, dict):
        settings = value.get("config", value)
        value = value.get("class_name", value.get("name"))
    kind = _WORDS.get(value, value) if isinstance(value, str) else None
    if kind not in KINDS or not isinstance(settings, dict):
        return None
    settings = {"max_value": settings["m"], **settings} if "m" in settings else settings
    found = {key: settings.get(key, default) for key, default in KINDS[kind].items()}
    axis = settings.get("axis", 0)
    axes = tuple(axis) if isinstance(axis, list) else () if axis is None else (axis,)
    if not all(map(_is_number, found.values())) or not all(type(each) is int for each in axes):
        return None
    return Rule(kind, {key: float(number) for key, number in found.items()}, axes)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e30
