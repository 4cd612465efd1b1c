"""Keras' convolutions along time, or rows and columns."""

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.layers.activations import activation
from grulight.keras_files.layers.base import Pick, Tree, parameter, taken, variable
from grulight.keras_files.layers.sliding_window import SlidingWindows
from grulight.keras_files.layers.spatial import Spatial, SpatialLayer, apart, rank_of, together
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Array, Variables

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Conv(SpatialLayer):
    """Convolution along one axis or several: Conv1D, Conv2D and Conv3D."""

    bias: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.windows = conv_windows(spec)
        self.groups = spec.integer("groups", 1)
        self.activation = activation(spec, "activation")
        self.weight = parameter(to_torch(_canonical(spec, arrays["kernel"])), spec)
        bias = arrays.get("bias")
        self.register_parameter("bias", None if bias is None else parameter(bias, spec))

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel and bias; Keras 1 has a fourth axis in the kernel of Conv1D."""
        features, sizes = apart(spec, shapes[0]).features, conv_windows(spec).sizes
        filters, groups = spec.integer("filters"), spec.integer("groups", 1)
        inputs = None if features is None else features // groups
        kernels: list[Shape] = [(*sizes, inputs, filters)]
        if spec.version.major == 1:
            sizes = (*sizes, 1)[:2]
            kernels = [(*sizes, inputs, filters), (filters, inputs, *sizes)]
        held: Variables = {"kernel": variable(spec, "kernel", 0, *kernels)}
        if spec.flag("use_bias", True):
            held["bias"] = variable(spec, "bias", 1, (filters,))
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape with as many features as filters."""
        lengths = conv_windows(spec).lengths(shapes[0])
        return (together(spec, Spatial(shapes[0][0], lengths, spec.integer("filters"))),)

    def slide(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        windows = self.windows
        y = CONVOLUTIONS[self.rank](
            F.pad(x, windows.pads(x.shape[2:])),
            self.weight,
            self.bias,
            stride=windows.strides,
            dilation=windows.dilations,
            groups=self.groups,
        )
        return y

    def compute(self, x: Tensor) -> Tensor:
        """Return the activation of the convolution."""
        return self.activation(super().compute(x))

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return kernel and bias."""
        held = {"kernel": to_keras(taken(self.weight, pick))}
        return held if self.bias is None else held | {"bias": taken(self.bias, pick)}


def conv_windows(spec: LayerSpec) -> SlidingWindows:
    """Return the windows of a convolution."""
    rank = rank_of(spec)
    paddings = ("valid", "same", "causal") if rank == 1 else ("valid", "same")
    return SlidingWindows(spec, "kernel_size", paddings, spec.sizes("strides", rank, 1))


def to_torch(kernel: Array) -> Array:
    """Return a kernel (sizes, inputs, filters) as (filters, inputs, sizes)."""
    return kernel.transpose(-1, -2, *range(kernel.ndim - 2))


def to_keras(kernel: Array) -> Array:
    """Return a kernel (filters, inputs, sizes) as (sizes, inputs, filters)."""
    return kernel.transpose(*range(2, kernel.ndim), 1, 0)


def _canonical(spec: LayerSpec, kernel: Array) -> Array:
    """Return the kernel as (sizes, inputs, filters)."""
    sizes, old = conv_windows(spec).sizes, spec.version.major == 1
    if old and kernel.ndim == 4:  # before Keras 1.2 with the axes the other way round
        if kernel.shape[:2] != (*sizes, 1)[:2]:
            kernel = kernel.transpose(2, 3, 1, 0)
        kernel = kernel[:, 0] if len(sizes) == 1 else kernel
    if spec.version.backend == "theano":  # which convolves where others correlate
        kernel = np.flip(kernel, tuple(range(len(sizes))))
    return kernel
