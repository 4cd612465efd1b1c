"""Keras' layers that slide along time, and those that pool all of it."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.activations import activation
from grulight.keras_files.base import (
    MOST_NUMBERS,
    Array,
    KerasLayer,
    Pick,
    Signal,
    Tree,
    Variables,
    last,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.shaping import three
from grulight.keras_files.spec import LayerSpec, Shape

LAST = ("channels_last",)


class Window:
    """A window that slides along time: its size, its steps, and what it does at the ends."""

    def __init__(self, spec: LayerSpec, size: str, paddings: tuple[str, ...], stride: int) -> None:
        self.size = spec.integer(size)
        self.stride = stride
        self.dilation = spec.integer("dilation_rate", 1)
        self.padding = spec.choice("padding", paddings, "valid")
        spec.choice("data_format", LAST, "channels_last")
        self.spec = spec

    @property
    def reach(self) -> int:
        """Steps from the first to the last that one output sees."""
        return (self.size - 1) * self.dilation + 1

    def length(self, shape: Shape) -> int | None:
        """Return how many outputs there are for an input (batch, time, feature).

        Raises:
            InputError: None fits in, or the padding would be more than any model needs.
        """
        _, steps, features = three(self.spec, shape)
        short = self.padding == "valid" and steps is not None and steps < self.reach
        if short or self.reach * (features or 1) > MOST_NUMBERS:
            raise self.spec.refuse(
                "input", f"windows of {self.reach} steps that go with its shape {shape}"
            )
        if steps is None:
            return None
        if self.padding == "valid":
            steps -= self.reach - 1
        return -(-steps // self.stride)

    def pads(self, steps: int) -> tuple[int, int]:
        """Return how many steps to put before and after, as TensorFlow does."""
        if self.padding == "causal":
            return self.reach - 1, 0
        if self.padding == "valid":
            return 0, 0
        outputs = -(-steps // self.stride)
        total = max((outputs - 1) * self.stride + self.reach - steps, 0)
        return total // 2, total - total // 2


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


def conv_window(spec: LayerSpec) -> Window:
    """Return the window of a convolution."""
    return Window(spec, "kernel_size", ("valid", "same", "causal"), spec.integer("strides", 1))


def _canonical(spec: LayerSpec, kernel: Array) -> Array:
    """Return the kernel as (size, inputs, filters)."""
    if kernel.ndim == 4:  # Keras 1, and before 1.2 with the axes the other way round
        if kernel.shape[1] != 1 or kernel.shape[0] != spec.integer("kernel_size"):
            kernel = kernel.transpose(2, 3, 1, 0)
        kernel = kernel[:, 0]
    if spec.version.backend == "theano":  # which convolves where others correlate
        kernel = np.flip(kernel, 0)
    return kernel


class Pooling1D(KerasLayer):
    """Pooling along time in windows."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.window = _pool_window(spec)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T', F)."""
        length = _pool_window(spec).length(shapes[0])
        return ((shapes[0][0], length, shapes[0][2]),)


def _pool_window(spec: LayerSpec) -> Window:
    size = spec.integer("pool_size", 2)
    stride = size if spec.config.get("strides") is None else spec.integer("strides")
    return Window(spec, "pool_size", ("valid", "same"), stride)


class MaxPooling1D(Pooling1D):
    """Largest value of each window."""

    def compute(self, x: Tensor) -> Tensor:
        """Return the maxima; what is put at the ends never wins."""
        padded = F.pad(x.transpose(1, 2), self.window.pads(x.shape[1]), value=-torch.inf)
        return F.max_pool1d(padded, self.window.size, self.window.stride).transpose(1, 2)


class AveragePooling1D(Pooling1D):
    """Mean of each window."""

    def compute(self, x: Tensor) -> Tensor:
        """Return the means; what is put at the ends does not count."""
        pads = self.window.pads(x.shape[1])
        ones = F.pad(torch.ones_like(x[:1, :, :1]).transpose(1, 2), pads)
        padded = F.pad(x.transpose(1, 2), pads)
        size, stride = self.window.size, self.window.stride
        share = F.avg_pool1d(ones, size, stride)  # of a window that lies inside the input
        return (F.avg_pool1d(padded, size, stride) / share).transpose(1, 2)


class GlobalPooling1D(KerasLayer):
    """Pooling of all time."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        spec.choice("data_format", LAST, "channels_last")
        self.keepdims = spec.flag("keepdims")

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, F)."""
        batch, _, features = three(spec, shapes[0])
        return ((batch, 1, features) if spec.flag("keepdims") else (batch, features),)


class GlobalMaxPooling1D(GlobalPooling1D):
    """Largest value over all time, masked or not: Keras takes no notice of masks here."""

    def compute(self, x: Tensor) -> Tensor:
        """Return the maxima."""
        return x.amax(1, keepdim=self.keepdims)


class GlobalAveragePooling1D(GlobalPooling1D):
    """Mean over the time that is not masked."""

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the means without a mask."""
        x, mask = signals[0]
        if mask is None:
            return (Signal(x.mean(1, keepdim=self.keepdims)),)
        weight = mask[..., None].to(x.dtype)
        total = torch.where(mask[..., None], x, 0.0).sum(1, keepdim=self.keepdims)
        return (Signal(total / weight.sum(1, keepdim=self.keepdims)),)
