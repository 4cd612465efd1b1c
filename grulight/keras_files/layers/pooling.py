"""Keras' layers that pool time: in windows, or all of it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.keras_files.layers.base import KerasLayer, Signal, Tree
from grulight.keras_files.layers.shaping import three
from grulight.keras_files.layers.sliding_window import CHANNELS_LAST, SlidingWindow
from grulight.keras_files.plan.spec import LayerSpec, Shape


class Pooling1D(KerasLayer):
    """Pooling along time in windows."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.window = _pool_window(spec)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T', F)."""
        length = _pool_window(spec).length(shapes[0])
        return ((shapes[0][0], length, shapes[0][2]),)


def _pool_window(spec: LayerSpec) -> SlidingWindow:
    size = spec.integer("pool_size", 2)
    stride = size if spec.config.get("strides") is None else spec.integer("strides")
    return SlidingWindow(spec, "pool_size", ("valid", "same"), stride)


class MaxPooling1D(Pooling1D):
    """Largest value of each window."""

    def compute(self, x: Tensor) -> Tensor:
        """Return the maxima; what is put at the ends never wins."""
        padded = F.pad(x.transpose(1, 2), self.window.pads(x.shape[1]), value=-torch.inf)
        # torch.export fixes the number of steps in max_pool1d
        size, stride = (self.window.size, 1), (self.window.stride, 1)
        return F.max_pool2d(padded[..., None], size, stride)[..., 0].transpose(1, 2)


class AveragePooling1D(Pooling1D):
    """Mean of each window."""

    def compute(self, x: Tensor) -> Tensor:
        """Return the means; what is put at the ends does not count."""
        pads = self.window.pads(x.shape[1])
        ones = F.pad(torch.ones_like(x[:1, :, :1]).transpose(1, 2), pads)
        padded = F.pad(x.transpose(1, 2), pads)
        size, stride = self.window.size, self.window.stride
        share = F.avg_pool1d(ones, size, stride)  # of a window that lies inside the input
        return (F.avg_pool1d(padded, size, stride) / share).transpose(1, 2)


class GlobalPooling1D(KerasLayer):
    """Pooling of all time."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        spec.choice("data_format", CHANNELS_LAST, "channels_last")
        self.keepdims = spec.flag("keepdims")

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, F)."""
        batch, _, features = three(spec, shapes[0])
        return ((batch, 1, features) if spec.flag("keepdims") else (batch, features),)


class GlobalMaxPooling1D(GlobalPooling1D):
    """Largest value over all time, masked or not: Keras takes no notice of masks here."""

    def compute(self, x: Tensor) -> Tensor:
        """Return the maxima."""
        return x.amax(1, keepdim=self.keepdims)


class GlobalAveragePooling1D(GlobalPooling1D):
    """Mean over the time that is not masked."""

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the means without a mask."""
        x, mask = signals[0]
        if mask is None:
            return (Signal(x.mean(1, keepdim=self.keepdims)),)
        weight = mask[..., None].to(x.dtype)
        total = torch.where(mask[..., None], x, 0.0).sum(1, keepdim=self.keepdims)
        return (Signal(total / weight.sum(1, keepdim=self.keepdims)),)
