"""What layers over time, or rows and columns, share: how many axes, and where the features lie."""

import re
from typing import NamedTuple

from torch import Tensor

from grulight.keras_files.layers.base import KerasLayer, Tree
from grulight.keras_files.plan.spec import LayerSpec, Shape

AXES = {1: "time", 2: "row, column", 3: "row, column, depth"}


class Spatial(NamedTuple):
    """A shape: the batch, the sizes along time or rows and columns, and the features."""

    batch: int | None
    sizes: tuple[int | None, ...]
    features: int | None


def rank_of(spec: LayerSpec) -> int:
    """Return along how many axes a layer works, which its class tells, as in Conv2D."""
    found = re.search(r"([123])D", spec.kind)
    assert found is not None
    return int(found[1])


def channels_first(spec: LayerSpec) -> bool:
    """Return whether the features come before time, or rows and columns."""
    order = spec.choice("data_format", ("channels_last", "channels_first"), "channels_last")
    return order == "channels_first"


def apart(spec: LayerSpec, shape: Shape) -> Spatial:
    """Return the parts of an input's shape.

    Raises:
        InputError: It has another number of axes.
    """
    rank = rank_of(spec)
    if len(shape) != rank + 2:
        raise spec.refuse("input", f"shape (batch, {AXES[rank]}, feature), got {shape}")
    if channels_first(spec):
        return Spatial(shape[0], shape[2:], shape[1])
    return Spatial(shape[0], shape[1:-1], shape[-1])


def together(spec: LayerSpec, parts: Spatial) -> Shape:
    """Return a shape of its parts, the inverse of ``apart``."""
    batch, sizes, features = parts
    return (batch, features, *sizes) if channels_first(spec) else (batch, *sizes, features)


class SpatialLayer(KerasLayer):
    """A layer over time, or rows and columns, that computes with the features before them."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.rank = rank_of(spec)
        self.channels_first = channels_first(spec)

    def slide(self, x: Tensor) -> Tensor:
        """Return the output of an input, both with the features first."""
        raise NotImplementedError

    def compute(self, x: Tensor) -> Tensor:
        """Return the output, the features where the input has them."""
        if self.channels_first:
            return self.slide(x)
        return self.slide(x.movedim(-1, 1)).movedim(1, -1)
