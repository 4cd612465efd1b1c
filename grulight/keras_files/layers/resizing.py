"""Layers that make time, or rows and columns, longer or shorter."""

import math

from torch import Tensor
from torch.nn import functional as F

from grulight.keras_files.layers.base import MOST_NUMBERS, Tree
from grulight.keras_files.layers.spatial import SpatialLayer, apart, rank_of, together
from grulight.keras_files.plan.spec import LayerSpec, Shape

Ends = tuple[int, int]  # what comes before, and what comes after


class OtherEnds(SpatialLayer):
    """Places put to both ends of each axis, or taken away."""

    key: str
    sign: int

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.ends = self.ends_of(spec)

    @classmethod
    def ends_of(cls, spec: LayerSpec) -> tuple[Ends, ...]:
        """Return what is put to the ends of each axis: negative where it is taken away.

        Keras writes a number, a number for each axis (for both ends of time), or pairs.
        """
        rank, value = rank_of(spec), spec.config.get(cls.key, 1)
        each = value if isinstance(value, list) and len(value) == rank > 1 else [value] * rank
        found = []
        for pair in each:
            ends = pair if isinstance(pair, list) and len(pair) == 2 else [pair, pair]
            ends = [end[0] if isinstance(end, list) and len(end) == 1 else end for end in ends]
            if not all(type(end) is int and 0 <= end <= MOST_NUMBERS for end in ends):
                raise spec.refuse(cls.key, "a number of places, or two for each axis")
            found.append((cls.sign * ends[0], cls.sign * ends[1]))
        return tuple(found)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape with more or fewer places."""
        parts, more = apart(spec, shapes[0]), [sum(ends) for ends in cls.ends_of(spec)]
        pairs = [*zip(parts.sizes, more, strict=True)]
        numbers = math.prod(max((size or 0) + extra, 1) for size, extra in pairs)
        given = math.prod(size or 1 for size in parts.sizes)
        short = any(size is not None and size + extra < 0 for size, extra in pairs)
        if short or numbers * (parts.features or 1) > max(MOST_NUMBERS, 4 * given):
            raise spec.refuse(cls.key, f"places that go with an input of shape {shapes[0]}")
        sizes = tuple(None if size is None else size + extra for size, extra in pairs)
        return (together(spec, parts._replace(sizes=sizes)),)

    def slide(self, x: Tensor) -> Tensor:
        """Return the input with other ends."""
        return F.pad(x, [end for ends in reversed(self.ends) for end in ends])


class ZeroPadding(OtherEnds):
    """Zeros before and after."""

    key, sign = "padding", 1


class Cropping(OtherEnds):
    """Places left out at both ends."""

    key, sign = "cropping", -1


class UpSampling(SpatialLayer):
    """Every place several times."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.times = spec.sizes("size", self.rank, 2)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape with more places."""
        spec.choice("interpolation", ("nearest",), "nearest")
        parts = apart(spec, shapes[0])
        pairs = zip(parts.sizes, spec.sizes("size", rank_of(spec), 2), strict=True)
        sizes = tuple(None if size is None else size * times for size, times in pairs)
        return (together(spec, parts._replace(sizes=sizes)),)

    def slide(self, x: Tensor) -> Tensor:
        """Return the input with more places."""
        for axis, times in enumerate(self.times, start=2):
            x = x.repeat_interleave(times, axis)
        return x
