"""Layers that move numbers around: Flatten, Reshape, Permute, RepeatVector, and along time."""

import math

from torch import Tensor
from torch.nn import functional as F

from grulight.keras_files.base import MOST_NUMBERS, KerasLayer, Tree
from grulight.keras_files.spec import LayerSpec, Shape


class Flatten(KerasLayer):
    """Everything but the batch in one axis."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        spec.choice("data_format", ("channels_last",), "channels_last")

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, product)."""
        return ((shapes[0][0], product(shapes[0][1:])),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the flat input."""
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


class Ends(KerasLayer):
    """Steps put to both ends of time, or taken away: a number, or one for each end."""

    key: str
    sign: int

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        spec.choice("data_format", ("channels_last",), "channels_last")
        self.ends = self._ends(spec)

    @classmethod
    def _ends(cls, spec: LayerSpec) -> tuple[int, int]:
        ends = spec.integers(cls.key, 1)
        if len(ends) > 2 or min(ends) < 0:
            raise spec.refuse(cls.key, "a number of steps, or two")
        return cls.sign * ends[0], cls.sign * ends[-1]

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T', F)."""
        batch, steps, features = three(spec, shapes[0])
        more = sum(cls._ends(spec))
        if more * (features or 1) > MOST_NUMBERS or (steps is not None and steps + more < 0):
            raise spec.refuse(cls.key, f"steps that go with an input of shape {shapes[0]}")
        return ((batch, None if steps is None else steps + more, features),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the input with other ends."""
        return F.pad(x, (0, 0, *self.ends))


class ZeroPadding1D(Ends):
    """Zeros before and after."""

    key, sign = "padding", 1


class Cropping1D(Ends):
    """Steps left out at both ends."""

    key, sign = "cropping", -1


class UpSampling1D(KerasLayer):
    """Every step several times."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.size = spec.integer("size", 2)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T', F)."""
        batch, steps, features = three(spec, shapes[0])
        return ((batch, None if steps is None else steps * spec.integer("size", 2), features),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the input with every step repeated."""
        return x.repeat_interleave(self.size, 1)


def three(spec: LayerSpec, shape: Shape) -> Shape:
    """Return the shape of sequences.

    Raises:
        InputError: It is another one.
    """
    if len(shape) != 3:
        raise spec.refuse("input", f"shape (batch, time, feature), got {shape}")
    return shape


def product(shape: Shape) -> int | None:
    """Return the product of an input's axes, unknown where one of them is."""
    known = [axis for axis in shape if axis is not None]
    return math.prod(known) if len(known) == len(shape) else None
