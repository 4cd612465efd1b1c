"""Keras' transposed convolutions: the gradient of a convolution, along time or rows and columns."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.layers.activations import activation
from grulight.keras_files.layers.base import (
    MOST_NUMBERS,
    Pick,
    Tree,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.layers.convolution import conv_windows, to_keras, to_torch
from grulight.keras_files.layers.sliding_window import SlidingWindow
from grulight.keras_files.layers.spatial import Spatial, SpatialLayer, apart, rank_of, together
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables

CONVOLUTIONS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
PADDINGS = ("valid", "same")


class ConvTranspose(SpatialLayer):
    """Each place spread out over a window: Conv1DTranspose, Conv2DTranspose, Conv3DTranspose."""

    bias: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.windows = conv_windows(spec)
        self.ends = _ends(spec)
        self.activation = activation(spec, "activation")
        self.weight = parameter(to_torch(arrays["kernel"]), spec)
        bias = arrays.get("bias")
        self.register_parameter("bias", None if bias is None else parameter(bias, spec))

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the kernel, whose filters come before the inputs, and the bias."""
        filters, inputs = spec.integer("filters"), apart(spec, shapes[0]).features
        kernel = (*conv_windows(spec).sizes, filters, inputs)
        held: Variables = {"kernel": variable(spec, "kernel", 0, kernel)}
        if spec.flag("use_bias", True):
            held["bias"] = variable(spec, "bias", 1, (filters,))
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shape with as many features as filters."""
        batch, sizes, _ = apart(spec, shapes[0])
        axes, filters = conv_windows(spec).axes, spec.integer("filters")
        each = [*zip(axes, sizes, _ends(spec), strict=True)]
        full = math.prod((size or 1) * axis.stride + axis.reach for axis, size, _ in each)
        if full * filters > MOST_NUMBERS:
            raise spec.refuse("input", f"windows that go with its shape {shapes[0]}")
        lengths = tuple(None if size is None else _length(a, size, end) for a, size, end in each)
        return (together(spec, Spatial(batch, lengths, filters)),)

    def slide(self, x: Tensor) -> Tensor:
        """Return every place spread out, cut to where TensorFlow's padding begins and ends."""
        windows = self.windows
        y = CONVOLUTIONS[self.rank](
            x, self.weight, stride=windows.strides, dilation=windows.dilations
        )
        cuts: list[int] = []
        for axis, places, end in zip(windows.axes, x.shape[2:], self.ends, strict=True):
            full = (places - 1) * axis.stride + axis.reach
            length = _length(axis, places, end)
            before = max(full - length, 0) // 2 if axis.padding == "same" else 0
            cuts = [-before, length + before - full, *cuts]
        y = F.pad(y, cuts)
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * self.rank)

    def compute(self, x: Tensor) -> Tensor:
        """Return the activation of the transposed convolution."""
        return self.activation(super().compute(x))

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return kernel and bias."""
        held = {"kernel": to_keras(taken(self.weight, pick))}
        return held if self.bias is None else held | {"bias": taken(self.bias, pick)}


def _ends(spec: LayerSpec) -> tuple[int | None, ...]:
    """Return `output_padding`, and refuse what TensorFlow cannot compute."""
    rank, windows = rank_of(spec), conv_windows(spec)
    spec.choice("padding", PADDINGS, "valid")
    if spec.config.get("output_padding") is None:
        return (None,) * rank
    found = spec.integers("output_padding")
    found = found * rank if len(found) == 1 else found
    if len(found) != rank:
        raise spec.refuse("output_padding", f"{rank} integers")
    for axis, end in zip(windows.axes, found, strict=True):
        more = end + (axis.reach % 2 if axis.padding == "same" else 1)
        if end < 0 or not 1 <= more <= axis.stride:
            raise spec.refuse("output_padding", f"less than the strides {windows.strides}")
    return found


def _length(axis: SlidingWindow, places: int, end: int | None) -> int:
    """Return how many outputs there are for so many places, as TensorFlow has it."""
    if axis.padding == "same":
        if end is None:
            return places * axis.stride
        return (places - 1) * axis.stride + axis.reach % 2 + end
    more = max(axis.stride - axis.reach, 0) if end is None else end
    return (places - 1) * axis.stride + axis.reach + more
