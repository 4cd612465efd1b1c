"""Keras' GroupNormalization and RMSNormalization."""

import torch
from torch import Tensor

from grulight.errors import InputError
from grulight.keras_files.layers.base import (
    KerasLayer,
    Pick,
    Signal,
    Tree,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.layers.normalization import Normalization, normalized_axes
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables
from grulight.keras_files.reader.untrusted_text import quote


class GroupNormalization(Normalization):
    """Each sample normalised over groups of its features (Wu and He 2018)."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.groups = spec.integer("groups", 32, least=-1)
        self.takes_masks = spec.version.major >= 3  # Keras 2 cannot lay one along the features

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return gamma and beta, where the features make whole groups."""
        axes = normalized_axes(spec, len(shapes[0]))
        groups, size = spec.integer("groups", 32, least=-1), shapes[0][axes[0]]
        fits = groups == -1 or (size is not None and groups > 0 and size % groups == 0)
        if len(axes) != 1 or not fits or size is None:
            raise spec.refuse("groups", f"a divisor of an axis' size of an input {shapes[0]}")
        return super().variables(spec, shapes)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the normalised input with its mask, which counts for nothing."""
        x, mask = signals[0]
        if mask is not None and not self.takes_masks:
            raise InputError(
                f"layer {quote(self.keras_name)} (GroupNormalization) gets a mask, which Keras 2 "
                "cannot compute with. Leave the mask away."
            )
        axis = self.axes[0] % x.dim()
        groups = x.shape[axis] if self.groups == -1 else self.groups
        grouped = x.unflatten(axis, (groups, x.shape[axis] // groups))  # type: ignore[no-untyped-call]
        axes = [each for each in range(1, grouped.dim()) if each != axis]
        variance, mean = torch.var_mean(grouped, axes, correction=0, keepdim=True)
        mean, variance = (
            each.expand_as(grouped).flatten(axis, axis + 1) for each in (mean, variance)
        )
        return (Signal(self.normalise(x, mean, variance, self.broadcast(x)), mask),)


class RMSNormalization(KerasLayer):
    """Each sample divided by the root of its mean square (Zhang and Sennrich 2019)."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.axes = spec.integers("axis", -1)
        self.epsilon = spec.number("epsilon", 1e-6)
        self.scale = parameter(arrays["scale"], spec)

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the scale."""
        axes = normalized_axes(spec, len(shapes[0]))
        shape = tuple(shapes[0][axis] for axis in axes)
        return {"scale": variable(spec, "scale", 0, shape)}

    def compute(self, x: Tensor) -> Tensor:
        """Return the normalised input."""
        axes = {axis % x.dim() for axis in self.axes}
        shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
        mean = x.square().mean([*axes], keepdim=True)
        return x * torch.rsqrt(mean + self.epsilon) * self.scale.reshape(shape)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the scale."""
        return {"scale": taken(self.scale, pick)}
