"""Keras' activations that are layers of their own."""

import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.errors import InputError
from grulight.keras_files.layers.activations import activation, single
from grulight.keras_files.layers.base import (
    KerasLayer,
    Pick,
    Signal,
    Tree,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.layers.constants import beside, require_along, setting
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables


class Pointwise(KerasLayer):
    """A function of every number by itself."""

    passes_mask = True


class Identity(Pointwise):
    """The input."""

    def compute(self, x: Tensor) -> Tensor:
        """Return the input."""
        return x


class Activation(Pointwise):
    """A named activation."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.activation = activation(spec, "activation")

    def compute(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return self.activation(x)


class ReLU(Pointwise):
    """max(x, 0) with a threshold, a ceiling and a slope below."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        ceiling = spec.config.get("max_value")
        self.ceiling = None if ceiling is None else spec.number("max_value")
        slope, threshold = spec.config.get("negative_slope"), spec.config.get("threshold")
        self.slope = 0.0 if slope is None else spec.number("negative_slope")
        self.threshold = 0.0 if threshold is None else spec.number("threshold")
        if self.ceiling is None and self.threshold == 0:
            self.slope = single(self.slope)  # TensorFlow then calls its leaky_relu

    def compute(self, x: Tensor) -> Tensor:
        """Return x above the threshold, at most the ceiling, and slope (x - threshold) below."""
        above = torch.where(x > self.threshold, x, 0.0)
        if self.ceiling is not None:
            above = above.clamp(max=self.ceiling)
        if self.slope == 0:
            return above
        return above - self.slope * torch.relu(self.threshold - x)


class LeakyReLU(Pointwise):
    """x above zero, slope x below."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        key = "alpha" if "alpha" in spec.config else "negative_slope"
        self.slope = single(spec.number(key, 0.3))

    def compute(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return F.leaky_relu(x, self.slope)


class ThresholdedReLU(Pointwise):
    """x above a threshold, zero below."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.theta = spec.number("theta", 1.0)

    def compute(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return torch.where(x > self.theta, x, 0.0)


class Rescaling(Pointwise):
    """x scale + offset, each a number or an array."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.scale, self.offset = _single(spec, "scale"), _single(spec, "offset", 0.0)
        self.passes_mask = spec.version.major >= 3

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return none, where the settings fit the input."""
        require_along(spec, "scale", shapes[0])
        require_along(spec, "offset", shapes[0])
        return {}

    def compute(self, x: Tensor) -> Tensor:
        """Return the rescaled input."""
        return x * beside(self.scale, x) + beside(self.offset, x)


def _single(spec: LayerSpec, key: str, default: float | None = None) -> float | Tensor:
    """Return a setting as TensorFlow casts it: by way of float32, unless it has a type."""
    given = setting(spec, key, default)
    if isinstance(spec.config.get(key), dict):
        return given
    return given.float().double() if isinstance(given, Tensor) else single(given)


class ELU(Pointwise):
    """x above zero, alpha (e^x - 1) below."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.alpha = spec.number("alpha", 1.0)

    def compute(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return F.elu(x, self.alpha)


class PReLU(Pointwise):
    """x above zero, alpha x below, with an alpha of its own for every place not shared."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.alpha = parameter(arrays["alpha"], spec)

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return alpha, of size 1 along shared axes."""
        shared = spec.integers("shared_axes") if spec.config.get("shared_axes") else ()
        axes = enumerate(shapes[0][1:], start=1)
        shape = tuple(1 if axis in shared else size for axis, size in axes)
        return {"alpha": variable(spec, "alpha", 0, shape)}

    def compute(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return torch.relu(x) - self.alpha * torch.relu(-x)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return alpha."""
        return {"alpha": taken(self.alpha, pick)}


class Softmax(Pointwise):
    """Softmax over one axis or several; what is masked gets nothing."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.axes = spec.integers("axis", -1)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the softmax with the mask."""
        x, mask = signals[0]
        if mask is not None:
            if mask.dim() != x.dim():
                raise InputError(
                    f"layer {self.keras_name!r} (Softmax) gets a mask of {mask.dim()} axes for "
                    f"{x.dim()}. Keras has no meaning for that: use an Activation layer."
                )
            x = torch.where(mask, x, -1e9)
        y = torch.exp(x - torch.logsumexp(x, self.axes, keepdim=True))
        if len(self.axes) == 1:
            y = torch.softmax(x, self.axes[0])
        return (Signal(y if mask is None else torch.where(mask, y, 0.0), mask),)
