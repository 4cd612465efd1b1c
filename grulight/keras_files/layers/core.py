"""Keras' core layers: Dense, Embedding and Masking."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.layers.activations import activation
from grulight.keras_files.layers.base import (
    KerasLayer,
    Pick,
    Signal,
    Tree,
    last,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables


class Embedding(KerasLayer):
    """A vector for each id; with `mask_zero` the id 0 is masked, and trained like any other."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.weight = parameter(arrays["embeddings"], spec)
        self.mask_zero = spec.flag("mask_zero")

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the table of vectors."""
        shape = (spec.integer("input_dim"), spec.integer("output_dim"))
        return {"embeddings": variable(spec, "embeddings", 0, shape)}

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T, F)."""
        return ((*shapes[0], spec.integer("output_dim")),)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the vectors."""
        ids = signals[0].value
        mask = ids != 0 if self.mask_zero else None
        return (Signal(F.embedding(ids.to(torch.int64), self.weight), mask),)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the table."""
        return {"embeddings": taken(self.weight, pick)}


class Masking(KerasLayer):
    """Mask and zero the steps in which every feature has one value."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.mask_value = spec.number("mask_value", 0.0)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the kept steps and the mask of them."""
        x = signals[0].value
        mask = (x != self.mask_value).any(-1)
        return (Signal(torch.where(mask[..., None], x, 0.0), mask),)


class Dense(KerasLayer):
    """A linear map of the last axis, and an activation."""

    passes_mask = True
    bias: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.weight = parameter(arrays["kernel"].T, spec)
        bias = arrays.get("bias")
        self.register_parameter("bias", None if bias is None else parameter(bias, spec))
        self.activation = activation(spec, "activation")

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel and bias."""
        units = spec.integer("units")
        held: Variables = {"kernel": variable(spec, "kernel", 0, (last(shapes[0]), units))}
        if spec.flag("use_bias", True):
            held["bias"] = variable(spec, "bias", 1, (units,))
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the input's shape with as many features as units."""
        return ((*shapes[0][:-1], spec.integer("units")),)

    def compute(self, x: Tensor) -> Tensor:
        """Return activation(x kernel + bias)."""
        return self.activation(F.linear(x, self.weight, self.bias))

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return kernel and bias."""
        held = {"kernel": taken(self.weight, pick).T}
        return held if self.bias is None else held | {"bias": taken(self.bias, pick)}
