"""Keras 3's bare operations, which its files mostly hold where a mask is computed."""

from collections.abc import Callable

import torch
from torch import Tensor

from grulight.keras_files.base import KerasLayer, Signal, Tree
from grulight.keras_files.merging import Concatenate, Merge
from grulight.keras_files.spec import LayerSpec, Shape


class Operation(KerasLayer):
    """A bare operation of Keras 3; its output has no mask."""

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return what the inputs broadcast to; a number has the shape ()."""
        rank = max(map(len, shapes))
        return Merge.output_shapes(spec, tuple((1,) * (rank - len(s)) + s for s in shapes))


BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "NotEqual": torch.ne,
    "Equal": torch.eq,
    "LogicalOr": torch.logical_or,
    "LogicalAnd": torch.logical_and,
    "Add": torch.add,
    "Subtract": torch.sub,
    "Multiply": torch.mul,
}


class Binary(Operation):
    """An operation on two tensors, or a tensor and a number."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.function = BINARY[spec.kind.removeprefix("operation ")]

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the result."""
        ours, theirs = (each.value for each in signals)
        return (Signal(self.function(ours, theirs)),)


class Reduce(Operation):
    """Any or All along one axis."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.axis = spec.integer("axis", -1, least=-16)
        self.keepdims = spec.flag("keepdims")
        self.all = spec.kind.endswith("All")

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape without the axis."""
        rank, axis = len(shapes[0]), spec.integer("axis", -1, least=-16)
        if not -rank <= axis < rank:
            raise spec.refuse("axis", f"an axis of {shapes[0]}")
        at = axis % rank
        kept = (1,) if spec.flag("keepdims") else ()
        return ((*shapes[0][:at], *kept, *shapes[0][at + 1 :]),)

    def compute(self, x: Tensor) -> Tensor:
        """Return whether any or all are true."""
        function = torch.all if self.all else torch.any
        return function(x.bool(), self.axis, keepdim=self.keepdims)


class ExpandDims(Operation):
    """A new axis."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.axis = spec.integer("axis", -1, least=-16)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape with the axis."""
        rank, axis = len(shapes[0]) + 1, spec.integer("axis", -1, least=-16)
        if not -rank <= axis < rank:
            raise spec.refuse("axis", f"a place in {shapes[0]}")
        at = axis % rank
        return ((*shapes[0][:at], 1, *shapes[0][at:]),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the input with the axis."""
        return x.unsqueeze(self.axis)


class Like(Operation):
    """Zeros or ones in the shape of the input; Keras uses them for masks."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.value = spec.kind.endswith("OnesLike")
        spec.choice("dtype", ("bool",), "bool")

    def compute(self, x: Tensor) -> Tensor:
        """Return the constant."""
        return torch.full_like(x, self.value, dtype=torch.bool)


class ConcatenateOperation(Concatenate):
    """Side by side, without a mask."""

    def merge_masks(self, signals: tuple[Signal, ...]) -> Tensor | None:
        """Return no mask."""
        return None


OPERATIONS: dict[str, type[KerasLayer]] = {
    **{f"operation {name}": Binary for name in BINARY},
    "operation Any": Reduce,
    "operation All": Reduce,
    "operation ExpandDims": ExpandDims,
    "operation ZerosLike": Like,
    "operation OnesLike": Like,
    "operation Concatenate": ConcatenateOperation,
}
