"""Keras' Conv1D, and the window that all convolutions slide along time."""

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.layers.activations import activation
from grulight.keras_files.layers.base import (
    KerasLayer,
    Pick,
    Tree,
    last,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.layers.sliding_window import SlidingWindow
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Array, Variables


class Conv1D(KerasLayer):
    """Convolution along time."""

    bias: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.window = conv_window(spec)
        self.groups = spec.integer("groups", 1)
        self.activation = activation(spec, "activation")
        kernel = _canonical(spec, arrays["kernel"])
        self.weight = parameter(kernel.transpose(2, 1, 0), spec)
        bias = arrays.get("bias")
        self.register_parameter("bias", None if bias is None else parameter(bias, spec))

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel and bias; Keras 1 has a fourth axis in the kernel."""
        features, size = last(shapes[0]), spec.integer("kernel_size")
        filters, groups = spec.integer("filters"), spec.integer("groups", 1)
        inputs = None if features is None else features // groups
        kernels: list[Shape] = [(size, inputs, filters)]
        if spec.version.major == 1:
            kernels = [(size, 1, inputs, filters), (filters, inputs, size, 1)]
        held: Variables = {"kernel": variable(spec, "kernel", 0, *kernels)}
        if spec.flag("use_bias", True):
            held["bias"] = variable(spec, "bias", 1, (filters,))
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T', filters)."""
        length = conv_window(spec).length(shapes[0])
        return ((shapes[0][0], length, spec.integer("filters")),)

    def compute(self, x: Tensor) -> Tensor:
        """Return the convolution; torch wants the features before time."""
        window = self.window
        padded = F.pad(x.transpose(1, 2), window.pads(x.shape[1]))
        y = F.conv1d(
            padded,
            self.weight,
            self.bias,
            stride=window.stride,
            dilation=window.dilation,
            groups=self.groups,
        )
        return self.activation(y.transpose(1, 2))

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return kernel and bias."""
        held = {"kernel": taken(self.weight, pick).transpose(2, 1, 0)}
        return held if self.bias is None else held | {"bias": taken(self.bias, pick)}


def conv_window(spec: LayerSpec) -> SlidingWindow:
    """Return the window of a convolution."""
    return SlidingWindow(
        spec, "kernel_size", ("valid", "same", "causal"), spec.integer("strides", 1)
    )


def _canonical(spec: LayerSpec, kernel: Array) -> Array:
    """Return the kernel as (size, inputs, filters)."""
    if kernel.ndim == 4:  # Keras 1, and before 1.2 with the axes the other way round
        if kernel.shape[1] != 1 or kernel.shape[0] != spec.integer("kernel_size"):
            kernel = kernel.transpose(2, 3, 1, 0)
        kernel = kernel[:, 0]
    if spec.version.backend == "theano":  # which convolves where others correlate
        kernel = np.flip(kernel, 0)
    return kernel
