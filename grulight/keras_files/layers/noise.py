"""Keras' layers that make noise while training, and those that only add to the loss."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.keras_files.layers.base import KerasLayer, Tree
from grulight.keras_files.layers.spatial import channels_first
from grulight.keras_files.plan.spec import LayerSpec

# Where dropped units end up: SELU's limit far below zero (Klambauer et al. 2017).
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


class Dropout(KerasLayer):
    """Random zeros when training, the same along the axes that `noise_shape` has as 1."""

    passes_mask = True

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.rate = spec.share("rate", 0.5)
        shape = spec.config.get("noise_shape")
        sizes = shape if isinstance(shape, list) else []
        if shape is not None and not all(type(n) is int or n is None for n in sizes):
            raise spec.refuse("noise_shape", "null or sizes")
        self.shape: list[int | None] = sizes

    def noise_shape(self, x: Tensor) -> tuple[int, ...]:
        """Return the shape of the random mask."""
        if len(self.shape) != x.dim():
            return tuple(x.shape)
        return tuple(1 if own == 1 else size for own, size in zip(self.shape, x.shape, strict=True))

    def compute(self, x: Tensor) -> Tensor:
        """Return the input with some of it zero and the rest scaled up."""
        if not self.training or self.rate == 0:
            return x
        return x * F.dropout(x.new_ones(self.noise_shape(x)), self.rate)


class SpatialDropout(Dropout):
    """Whole features zero when training."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.feature = 1 if channels_first(spec) else -1

    def noise_shape(self, x: Tensor) -> tuple[int, ...]:
        """Return one random number per feature."""
        shape = [1] * x.dim()
        shape[0], shape[self.feature] = x.shape[0], x.shape[self.feature]
        return tuple(shape)


class GaussianNoise(KerasLayer):
    """Normal noise added when training."""

    passes_mask = True

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.deviation = spec.number("stddev")

    def compute(self, x: Tensor) -> Tensor:
        """Return the input, with noise when training."""
        return x + self.deviation * torch.randn_like(x) if self.training else x


class GaussianDropout(Dropout):
    """Normal noise around one, multiplied with the input when training."""

    def compute(self, x: Tensor) -> Tensor:
        """Return the input, times noise when training."""
        if not self.training or not 0 < self.rate < 1:
            return x
        return x * (1 + math.sqrt(self.rate / (1 - self.rate)) * torch.randn_like(x))


class AlphaDropout(Dropout):
    """Dropout that keeps mean and variance of what SELU puts out."""

    def compute(self, x: Tensor) -> Tensor:
        """Return the input with some of it at SELU's lower limit when training."""
        if not self.training or not 0 < self.rate < 1:
            return x
        low = -SELU_ALPHA * SELU_SCALE
        kept = torch.rand(self.noise_shape(x), device=x.device) >= self.rate
        scale = 1 / math.sqrt((1 - self.rate) * (1 + self.rate * low**2))
        return scale * torch.where(kept, x, low) - scale * low * self.rate


class ActivityRegularization(KerasLayer):
    """The input, which adds to the loss as a regulariser of activities."""

    passes_mask = True

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        own = {key: spec.config.get(key, 0.0) for key in ("l1", "l2")}
        self.regularizers["activity_regularizer"] = {"class_name": "L1L2", "config": own}

    def compute(self, x: Tensor) -> Tensor:
        """Return the input."""
        return x
