"""Keras' convolutions that keep features apart: DepthwiseConv and SeparableConv."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.layers.activations import activation
from grulight.keras_files.layers.base import Pick, Tree, parameter, taken, variable
from grulight.keras_files.layers.convolution import CONVOLUTIONS, conv_windows, to_keras, to_torch
from grulight.keras_files.layers.spatial import Spatial, SpatialLayer, apart, together
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables


class DepthwiseConv(SpatialLayer):
    """Convolution of each feature by itself, several times by `depth_multiplier`."""

    bias: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.windows = conv_windows(spec)
        self.activation = activation(spec, "activation")
        self.name_in_keras = self.depthwise(spec)
        kernel = arrays[self.name_in_keras]  # (sizes, features, multiplier)
        self.groups = kernel.shape[-2]
        flat = kernel.reshape(*kernel.shape[:-2], 1, math.prod(kernel.shape[-2:]))
        self.weight = parameter(to_torch(flat), spec)
        bias = arrays.get("bias")
        self.register_parameter("bias", None if bias is None else parameter(bias, spec))

    @classmethod
    def depthwise(cls, spec: LayerSpec) -> str:
        """Return what Keras calls the kernel."""
        return "depthwise_kernel" if spec.version.major < 3 else "kernel"

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel and bias."""
        name, features = cls.depthwise(spec), apart(spec, shapes[0]).features
        times = spec.integer("depth_multiplier", 1)
        kernel = (*conv_windows(spec).sizes, features, times)
        held: Variables = {name: variable(spec, name, 0, kernel)}
        if spec.flag("use_bias", True):
            filters = None if features is None else features * times
            held["bias"] = variable(spec, "bias", 1, (filters,))
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape with features times the multiplier."""
        batch, _, features = apart(spec, shapes[0])
        filters = None if features is None else features * spec.integer("depth_multiplier", 1)
        return (together(spec, Spatial(batch, conv_windows(spec).lengths(shapes[0]), filters)),)

    def slide(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        return self.each(x, self.bias)

    def compute(self, x: Tensor) -> Tensor:
        """Return the activation of the convolution."""
        return self.activation(super().compute(x))

    def each(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution of each feature."""
        windows = self.windows
        padded = F.pad(x, windows.pads(x.shape[2:]))
        settings = {"stride": windows.strides, "dilation": windows.dilations}
        return CONVOLUTIONS[self.rank](padded, self.weight, bias, **settings, groups=self.groups)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return kernel and bias."""
        kernel = to_keras(taken(self.weight, pick))
        held = {self.name_in_keras: kernel.reshape(*kernel.shape[:-2], self.groups, -1)}
        return held if self.bias is None else held | {"bias": taken(self.bias, pick)}


class SeparableConv(DepthwiseConv):
    """Convolution of each feature by itself, and a linear map of the results at each place."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.pointwise = parameter(to_torch(arrays["pointwise_kernel"]), spec)

    @classmethod
    def depthwise(cls, spec: LayerSpec) -> str:
        """Return what Keras calls the first kernel."""
        return "depthwise_kernel"

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return both kernels and the bias."""
        first = super().variables(spec, shapes)["depthwise_kernel"]
        (_, sizes, features), filters = apart(spec, shapes[0]), spec.integer("filters")
        between = None if features is None else features * spec.integer("depth_multiplier", 1)
        kernel = (*(1 for _ in sizes), between, filters)
        second = variable(spec, "pointwise_kernel", 1, kernel)
        held: Variables = {"depthwise_kernel": first, "pointwise_kernel": second}
        if spec.flag("use_bias", True):
            held["bias"] = variable(spec, "bias", 2, (filters,))
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape with as many features as filters."""
        [shape] = super().output_shapes(spec, shapes)
        parts = apart(spec, shape)._replace(features=spec.integer("filters"))
        return (together(spec, parts),)

    def slide(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        return CONVOLUTIONS[self.rank](self.each(x, None), self.pointwise, self.bias)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return both kernels and the bias."""
        held = dict(super().to_keras(pick))
        between = {"pointwise_kernel": to_keras(taken(self.pointwise, pick))}
        return {"depthwise_kernel": held.pop("depthwise_kernel"), **between, **held}
