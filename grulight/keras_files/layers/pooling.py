"""Keras' layers that pool time, or rows and columns: in windows, or all of it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.keras_files.layers.base import Signal, Tree
from grulight.keras_files.layers.sliding_window import SlidingWindows
from grulight.keras_files.layers.spatial import Spatial, SpatialLayer, apart, rank_of, together
from grulight.keras_files.plan.spec import LayerSpec, Shape

MAXIMA = {2: F.max_pool2d, 3: F.max_pool3d}
MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class Pooling(SpatialLayer):
    """Pooling in windows."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.windows = _pool_windows(spec)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape with as many places as windows."""
        batch, _, features = apart(spec, shapes[0])
        lengths = _pool_windows(spec).lengths(shapes[0])
        return (together(spec, Spatial(batch, lengths, features)),)


def _pool_windows(spec: LayerSpec) -> SlidingWindows:
    rank = rank_of(spec)
    key = "pool_size" if spec.config.get("strides") is None else "strides"
    strides = spec.sizes(key, rank, 2)
    return SlidingWindows(spec, "pool_size", ("valid", "same"), strides, 2)


class MaxPooling(Pooling):
    """Largest value of each window."""

    def slide(self, x: Tensor) -> Tensor:
        """Return the maxima; what is put at the ends never wins."""
        windows = self.windows
        padded = F.pad(x, windows.pads(x.shape[2:]), value=-torch.inf)
        if self.rank == 1:  # torch.export fixes the number of steps in max_pool1d
            [size], [stride] = windows.sizes, windows.strides
            return F.max_pool2d(padded[..., None], (size, 1), (stride, 1))[..., 0]
        return MAXIMA[self.rank](padded, windows.sizes, windows.strides)


class AveragePooling(Pooling):
    """Mean of each window."""

    def slide(self, x: Tensor) -> Tensor:
        """Return the means; what is put at the ends does not count."""
        windows = self.windows
        pads = windows.pads(x.shape[2:])
        ones = F.pad(torch.ones_like(x[:1, :1]), pads)
        mean = MEANS[self.rank]
        share = mean(ones, windows.sizes, windows.strides)  # of a window inside the input
        return mean(F.pad(x, pads), windows.sizes, windows.strides) / share


class GlobalPooling(SpatialLayer):
    """Pooling of all time, or of all rows and columns."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.keepdims = spec.flag("keepdims")
        self.axes = tuple(range(2, self.rank + 2))

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, F)."""
        batch, sizes, features = apart(spec, shapes[0])
        if spec.flag("keepdims"):
            return (together(spec, Spatial(batch, (1,) * len(sizes), features)),)
        return ((batch, features),)

    def compute(self, x: Tensor) -> Tensor:
        """Return one number of each feature."""
        y = self.slide(x if self.channels_first else x.movedim(-1, 1))
        return y if self.channels_first or not self.keepdims else y.movedim(1, -1)


class GlobalMaxPooling(GlobalPooling):
    """Largest value over everything, masked or not: Keras takes no notice of masks here."""

    def slide(self, x: Tensor) -> Tensor:
        """Return the maxima."""
        return x.amax(self.axes, keepdim=self.keepdims)


class GlobalAveragePooling(GlobalPooling):
    """Mean over everything."""

    def slide(self, x: Tensor) -> Tensor:
        """Return the means."""
        return x.mean(self.axes, keepdim=self.keepdims)


class GlobalAveragePooling1D(GlobalAveragePooling):
    """Mean over the time that is not masked."""

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the means without a mask."""
        x, mask = signals[0]
        if mask is None:
            return (Signal(self.compute(x)),)
        axis = 2 if self.channels_first else 1
        kept = mask.unsqueeze(3 - axis)
        total = torch.where(kept, x, 0.0).sum(axis, keepdim=self.keepdims)
        return (Signal(total / kept.to(x.dtype).sum(axis, keepdim=self.keepdims)),)
