"""Layers with several inputs."""

from functools import reduce

import torch
from torch import Tensor

from grulight.keras_files.layers.base import KerasLayer, Signal, Tree
from grulight.keras_files.layers.normalization import l2_normalized
from grulight.keras_files.plan.spec import LayerSpec, Shape


class Merge(KerasLayer):
    """Several tensors of one shape in one, element by element."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.any_mask = spec.version.major >= 3  # what was AND up to Keras 2 is OR in Keras 3

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape that all inputs broadcast to."""
        rank = max(map(len, shapes))
        if any(len(shape) != rank for shape in shapes):
            raise spec.refuse("inputs", f"inputs with as many axes each, got {shapes}")
        axes = [{size for size in sizes if size != 1} for sizes in zip(*shapes, strict=True)]
        if any(len(sizes - {None}) > 1 for sizes in axes):
            raise spec.refuse("inputs", f"inputs of one shape, got {shapes}")
        return (tuple(next(iter(s - {None} or s)) if s else 1 for s in axes),)

    def merge(self, values: list[Tensor]) -> Tensor:
        """Return the merged tensor."""
        raise NotImplementedError

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the merged tensor with the merged mask."""
        return (Signal(self.merge([each.value for each in signals]), self.merge_masks(signals)),)

    def merge_masks(self, signals: tuple[Signal, ...]) -> Tensor | None:
        """Return the mask: Keras 3 wants all of them and takes OR, Keras 2 takes AND of any."""
        masks = [each.mask for each in signals if each.mask is not None]
        if not masks or (self.any_mask and len(masks) < len(signals)):
            return None
        stacked = torch.stack(masks)
        return stacked.any(0) if self.any_mask else stacked.all(0)


class Add(Merge):
    """Sum."""

    def merge(self, values: list[Tensor]) -> Tensor:
        """Return the sum."""
        return sum(values[1:], values[0])


class Subtract(Merge):
    """Difference of two."""

    def merge(self, values: list[Tensor]) -> Tensor:
        """Return the first less the second."""
        return values[0] - values[1]


class Maximum(Merge):
    """Largest of several."""

    def merge(self, values: list[Tensor]) -> Tensor:
        """Return the maximum."""
        return reduce(torch.maximum, values)


class Minimum(Merge):
    """Smallest of several."""

    def merge(self, values: list[Tensor]) -> Tensor:
        """Return the minimum."""
        return reduce(torch.minimum, values)


class Dot(KerasLayer):
    """Products of two tensors summed over one axis of each, for every sample by itself."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.axes = spec.integers("axes")
        self.normalize = spec.flag("normalize")

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, other axes of the first, other axes of the second), at least (B, 1)."""
        if len(shapes) != 2 or not all(2 <= len(shape) <= 8 for shape in shapes):
            raise spec.refuse("inputs", f"two tensors, got {shapes}")
        sides = tuple(map(len, shapes))
        found = [
            axis % rank for axis, rank in zip(_pair(spec.integers("axes")), sides, strict=True)
        ]
        sizes = {shape[axis] for shape, axis in zip(shapes, found, strict=True)} - {None}
        if 0 in found or len(sizes) > 1:
            raise spec.refuse("axes", f"axes of one size, got {shapes}")
        rest = [
            n
            for s, at in zip(shapes, found, strict=True)
            for i, n in enumerate(s)
            if i not in (0, at)
        ]
        return ((shapes[0][0], *(rest or [1])),)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the products without a mask."""
        ours, theirs = (
            self._ready(each.value, axis)
            for each, axis in zip(signals, _pair(self.axes), strict=True)
        )
        ends = ours.shape[1:-1], theirs.shape[1:-1]
        y = ours.flatten(1, -2) if ours.dim() > 2 else ours[:, None]
        z = theirs.flatten(1, -2) if theirs.dim() > 2 else theirs[:, None]
        product = y @ z.transpose(1, 2)
        shape = (*ends[0], *ends[1]) or (1,)
        return (Signal(product.reshape(product.shape[0], *shape)),)

    def _ready(self, x: Tensor, axis: int) -> Tensor:
        if self.normalize:
            x = l2_normalized(x, (axis,))
        return x.movedim(axis, -1)


def _pair(axes: tuple[int, ...]) -> tuple[int, int]:
    return (axes[0], axes[-1])


class Multiply(Merge):
    """Product; in Keras 3 what is masked multiplies by one, and is zero where all are masked."""

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the product with the merged mask."""
        mask = self.merge_masks(signals)
        if not self.any_mask:
            return (Signal(self.merge([each.value for each in signals]), mask),)
        ones = [x if m is None else torch.where(m[..., None], x, 1.0) for x, m in signals]
        product = self.merge(ones)
        return (
            Signal(product if mask is None else torch.where(mask[..., None], product, 0.0), mask),
        )

    def merge(self, values: list[Tensor]) -> Tensor:
        """Return the product."""
        product = values[0]
        for value in values[1:]:
            product = product * value
        return product


class Average(Merge):
    """Mean."""

    def merge(self, values: list[Tensor]) -> Tensor:
        """Return the mean."""
        return sum(values[1:], values[0]) / len(values)


class Concatenate(Merge):
    """Tensors side by side along one axis."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.axis = spec.integer("axis", -1, least=-16)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape with the sizes along the axis added up."""
        rank = len(shapes[0])
        axis = spec.integer("axis", -1, least=-16)
        if any(len(shape) != rank for shape in shapes) or not -rank <= axis < rank:
            raise spec.refuse("axis", f"an axis of all inputs, got {shapes}")
        axis %= rank
        sizes = [shape[axis] for shape in shapes]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        rest = [(*shape[:axis], 1, *shape[axis + 1 :]) for shape in shapes]
        merged = Merge.output_shapes(spec, tuple(rest))[0]
        return ((*merged[:axis], total, *merged[axis + 1 :]),)

    def merge(self, values: list[Tensor]) -> Tensor:
        """Return the tensors side by side."""
        return torch.cat(values, self.axis)

    def merge_masks(self, signals: tuple[Signal, ...]) -> Tensor | None:
        """Return the mask: as wide as the tensors, side by side, then reduced over features."""
        if all(mask is None for _, mask in signals):
            return None
        wide = []
        for value, mask in signals:
            if mask is None:
                mask = torch.ones_like(value, dtype=torch.bool)
            elif mask.dim() < value.dim():
                mask = mask[..., None].expand_as(value)
            wide.append(mask)
        together = torch.cat(wide, self.axis)
        return together.any(-1) if self.any_mask else together.all(-1)
