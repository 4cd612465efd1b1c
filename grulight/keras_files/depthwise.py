"""Keras' convolutions that keep features apart: DepthwiseConv1D and SeparableConv1D."""

from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.activations import activation
from grulight.keras_files.base import (
    KerasLayer,
    Pick,
    Tree,
    Variables,
    last,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.convolution import conv_window
from grulight.keras_files.shaping import three
from grulight.keras_files.spec import LayerSpec, Shape


class DepthwiseConv1D(KerasLayer):
    """Convolution of each feature by itself, several times by `depth_multiplier`."""

    bias: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.window = conv_window(spec)
        self.activation = activation(spec, "activation")
        self.name_in_keras = self.depthwise(spec)
        kernel = arrays[self.name_in_keras]  # (size, features, multiplier)
        self.groups = kernel.shape[1]
        self.weight = parameter(kernel.reshape(len(kernel), 1, -1).transpose(2, 1, 0), spec)
        bias = arrays.get("bias")
        self.register_parameter("bias", None if bias is None else parameter(bias, spec))

    @classmethod
    def depthwise(cls, spec: LayerSpec) -> str:
        """Return what Keras calls the kernel."""
        return "depthwise_kernel" if spec.version.major < 3 else "kernel"

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel and bias."""
        name, features = cls.depthwise(spec), last(shapes[0])
        times = spec.integer("depth_multiplier", 1)
        size = spec.integer("kernel_size")
        held: Variables = {name: variable(spec, name, 0, (size, features, times))}
        if spec.flag("use_bias", True):
            filters = None if features is None else features * times
            held["bias"] = variable(spec, "bias", 1, (filters,))
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T', features * multiplier)."""
        batch, _, features = three(spec, shapes[0])
        filters = None if features is None else features * spec.integer("depth_multiplier", 1)
        return ((batch, conv_window(spec).length(shapes[0]), filters),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        return self.activation(self.each(x, self.bias).transpose(1, 2))

    def each(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution of each feature, features before time."""
        window = self.window
        padded = F.pad(x.transpose(1, 2), window.pads(x.shape[1]))
        settings = {"stride": window.stride, "dilation": window.dilation, "groups": self.groups}
        return F.conv1d(padded, self.weight, bias, **settings)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return kernel and bias."""
        kernel = taken(self.weight, pick).transpose(2, 1, 0)
        held = {self.name_in_keras: kernel.reshape(len(kernel), self.groups, -1)}
        return held if self.bias is None else held | {"bias": taken(self.bias, pick)}


class SeparableConv1D(DepthwiseConv1D):
    """Convolution of each feature by itself, and a linear map of the results at each step."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.pointwise = parameter(arrays["pointwise_kernel"].transpose(2, 1, 0), spec)

    @classmethod
    def depthwise(cls, spec: LayerSpec) -> str:
        """Return what Keras calls the first kernel."""
        return "depthwise_kernel"

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return both kernels and the bias."""
        first = super().variables(spec, shapes)["depthwise_kernel"]
        features, filters = last(shapes[0]), spec.integer("filters")
        between = None if features is None else features * spec.integer("depth_multiplier", 1)
        second = variable(spec, "pointwise_kernel", 1, (1, between, filters))
        held: Variables = {"depthwise_kernel": first, "pointwise_kernel": second}
        if spec.flag("use_bias", True):
            held["bias"] = variable(spec, "bias", 2, (filters,))
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T', filters)."""
        [shape] = super().output_shapes(spec, shapes)
        return ((*shape[:2], spec.integer("filters")),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        y = F.conv1d(self.each(x, None), self.pointwise, self.bias)
        return self.activation(y.transpose(1, 2))

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return both kernels and the bias."""
        held = dict(super().to_keras(pick))
        between = {"pointwise_kernel": taken(self.pointwise, pick).transpose(2, 1, 0)}
        return {"depthwise_kernel": held.pop("depthwise_kernel"), **between, **held}
