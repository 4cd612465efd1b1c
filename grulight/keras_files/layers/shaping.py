"""Layers that move numbers around: Flatten, Reshape, Permute and RepeatVector."""

import math

from torch import Tensor

from grulight.keras_files.layers.base import KerasLayer, Tree
from grulight.keras_files.plan.spec import LayerSpec, Shape


class Flatten(KerasLayer):
    """Everything but the batch in one axis."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        order = spec.choice("data_format", ("channels_last", "channels_first"), "channels_last")
        self.channels_first = order == "channels_first"

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, product)."""
        return ((shapes[0][0], product(shapes[0][1:])),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the flat input, its features last as Keras has them."""
        if self.channels_first and x.dim() > 2:
            x = x.movedim(1, -1)
        return x.flatten(1) if x.dim() > 1 else x[:, None]


class Reshape(KerasLayer):
    """Another shape, of which one axis may follow from the others."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.target = spec.integers("target_shape", fewest=0)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, *target_shape)."""
        target: list[int | None] = list(spec.integers("target_shape", fewest=0))
        size = product(shapes[0][1:])
        if -1 in target:
            at = target.index(-1)
            rest = product(tuple(target[:at] + target[at + 1 :]))
            target[at] = size // rest if size is not None and rest else None
        if any(axis is not None and axis < 0 for axis in target) or (
            size is not None and product(tuple(target)) not in (size, None)
        ):
            raise spec.refuse("target_shape", f"a shape for the input's {shapes[0]}")
        return ((shapes[0][0], *target),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the input in the new shape."""
        return x.reshape(x.shape[0], *self.target)


class Permute(KerasLayer):
    """Other order of the axes, counted from 1 without the batch."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.order = (0, *spec.integers("dims"))

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the permuted shape."""
        dims = spec.integers("dims")
        if sorted(dims) != list(range(1, len(shapes[0]))):
            raise spec.refuse("dims", f"an order of the axes of {shapes[0]}")
        return ((shapes[0][0], *(shapes[0][axis] for axis in dims)),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the input with its axes in the new order."""
        return x.permute(self.order)


class RepeatVector(KerasLayer):
    """A vector for each of n time steps."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.n = spec.integer("n")

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, n, F)."""
        return ((shapes[0][0], spec.integer("n"), *shapes[0][1:]),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the input n times along a new time axis."""
        return x[:, None].expand(-1, self.n, *x.shape[1:])


def product(shape: Shape) -> int | None:
    """Return the product of an input's axes, unknown where one of them is."""
    known = [axis for axis in shape if axis is not None]
    return math.prod(known) if len(known) == len(shape) else None
