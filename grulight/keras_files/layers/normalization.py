"""Keras' BatchNormalization and LayerNormalization."""

import torch
from torch import Tensor, nn

from grulight.keras_files.layers.base import (
    KerasLayer,
    Pick,
    Signal,
    Tree,
    parameter,
    taken,
    tensor,
    variable,
)
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables

L2_LEAST = 1e-12  # squared lengths below it no longer divide


def normalized_axes(spec: LayerSpec, rank: int) -> tuple[int, ...]:
    """Return the normalised axes, counted from the front."""
    axes = spec.integers("axis", -1)
    if not all(-rank <= axis < rank and axis % rank for axis in axes):
        raise spec.refuse("axis", f"axes of an input with {rank} axes, without the batch")
    found = tuple(axis % rank for axis in axes)
    if len({*found}) != len(found):
        raise spec.refuse("axis", "each axis once")
    return found if spec.version.major < 3 else tuple(sorted(found))


class Normalization(KerasLayer):
    """What both have: gamma and beta over some axes, and an epsilon."""

    passes_mask = True
    gamma: nn.Parameter | None
    beta: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.epsilon = spec.number("epsilon", 1e-3)
        self.axes = spec.integers("axis", -1)
        for name in ("gamma", "beta"):
            array = arrays.get(name)
            self.register_parameter(name, None if array is None else parameter(array, spec))

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return gamma and beta where the layer has them."""
        shape = tuple(shapes[0][axis] for axis in normalized_axes(spec, len(shapes[0])))
        held: Variables = {}
        for name, wanted in zip(("gamma", "beta"), cls.has(spec), strict=True):
            if wanted:
                held[name] = variable(spec, name, len(held), shape)
        return held

    @classmethod
    def has(cls, spec: LayerSpec) -> tuple[bool, bool]:
        """Return whether the layer has gamma, and beta."""
        return spec.flag("scale", True), spec.flag("center", True)

    def normalise(self, x: Tensor, mean: Tensor, variance: Tensor, shape: list[int]) -> Tensor:
        """Return (x - mean) / sqrt(variance + epsilon) * gamma + beta."""
        scale = torch.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            scale = scale * self.gamma.reshape(shape)
        y = (x - mean) * scale
        return y if self.beta is None else y + self.beta.reshape(shape)

    def broadcast(self, x: Tensor) -> list[int]:
        """Return the shape that lays gamma along its axes."""
        axes = {axis % x.dim() for axis in self.axes}
        return [size if axis in axes else 1 for axis, size in enumerate(x.shape)]

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return gamma and beta."""
        held = {"gamma": self.gamma, "beta": self.beta}
        return {name: taken(each, pick) for name, each in held.items() if each is not None}


def l2_normalized(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return x over its length along some axes, as tf.math.l2_normalize does."""
    return x * torch.rsqrt(x.square().sum(axes, keepdim=True).clamp(min=L2_LEAST))


class UnitNormalization(KerasLayer):
    """Each sample divided by its length along some axes."""

    passes_mask = True

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.axes = spec.integers("axis", -1)

    def compute(self, x: Tensor) -> Tensor:
        """Return the input with unit length."""
        return l2_normalized(x, self.axes)


class LayerNormalization(Normalization):
    """Each sample normalised over its own axes."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.rms_scaling = spec.flag("rms_scaling")

    @classmethod
    def has(cls, spec: LayerSpec) -> tuple[bool, bool]:
        """Return whether the layer has gamma, and beta."""
        rms = spec.flag("rms_scaling")
        gamma, beta = super().has(spec)
        return gamma or rms, beta and not rms

    def compute(self, x: Tensor) -> Tensor:
        """Return the normalised input."""
        axes = [axis % x.dim() for axis in self.axes]
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        if self.rms_scaling:  # Keras' word for a division by the deviation without the mean
            mean = torch.zeros_like(mean)
        return self.normalise(x, mean, variance, self.broadcast(x))


class BatchNormalization(Normalization):
    """Each feature normalised over the batch when training, by moving statistics otherwise.

    Unlike torch's: the moving variance is the biased one, momentum is what stays, and masked
    steps do not count.
    """

    moving_mean: Tensor
    moving_variance: Tensor

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.momentum = spec.number("momentum", 0.99)
        # Keras 3 adds its backend.epsilon() to the count of steps that are not masked.
        self.count_epsilon = 1e-7 if spec.version.major >= 3 else 0.0
        self.frozen = not spec.flag("trainable", True)
        if len(self.axes) != 1 or spec.flag("renorm") or spec.config.get("mode", 0) != 0:
            raise spec.refuse("axis", "one axis (and neither renorm nor Keras 1's modes)")
        self.register_buffer("moving_mean", tensor(arrays["moving_mean"]))
        self.register_buffer("moving_variance", tensor(arrays["moving_variance"]))

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return gamma, beta, moving mean and moving variance."""
        held = super().variables(spec, shapes)
        shape = tuple(shapes[0][axis] for axis in normalized_axes(spec, len(shapes[0])))
        for name in ("moving_mean", "moving_variance"):
            held[name] = variable(spec, name, len(held), shape, trainable=False)
        return held

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the normalised input with its mask."""
        x, mask = signals[0]
        shape = self.broadcast(x)
        if self.training and not self.frozen:
            mean, variance = self._moments(x, mask)
            with torch.no_grad():
                keep = self.momentum
                self.moving_mean.mul_(keep).add_(mean.flatten() * (1 - keep))
                self.moving_variance.mul_(keep).add_(variance.flatten() * (1 - keep))
        else:
            mean, variance = self.moving_mean.reshape(shape), self.moving_variance.reshape(shape)
        return (Signal(self.normalise(x, mean, variance, shape), mask),)

    def _moments(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        axes = [axis for axis in range(x.dim()) if axis != self.axes[0] % x.dim()]
        if mask is None:
            variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
            return mean, variance
        weight = mask[..., None].to(x.dtype).expand_as(x)
        count = weight.sum(axes, keepdim=True) + self.count_epsilon
        mean = (weight * x).sum(axes, keepdim=True) / count
        return mean, (weight * (x - mean).square()).sum(axes, keepdim=True) / count

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return gamma, beta, moving mean and moving variance."""
        moving = {"moving_mean": self.moving_mean, "moving_variance": self.moving_variance}
        held = {name: taken(each, lambda buffer: buffer) for name, each in moving.items()}
        return {**super().to_keras(pick), **held}
