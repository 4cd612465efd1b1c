"""Bare operations on tensors: Keras 3's own, and TensorFlow's in the files of tf.keras 2.4 on.

A closed table of names; each is a function of tensors and of the settings in the file.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.keras_files.layers import more_operations, number_functions
from grulight.keras_files.layers.activations import ACTIVATIONS, Activation, single
from grulight.keras_files.layers.normalization import l2_normalized
from grulight.keras_files.layers.shape_operations import (
    Outputs,
    expand_dims,
    flip,
    get_item,
    repeat,
    reshape,
    split,
    split_by_sizes,
    squeeze,
    swap_axes,
    take,
    tile,
    transpose,
    unstack,
)
from grulight.keras_files.plan.spec import LayerSpec

Function = Callable[[LayerSpec, list[Tensor]], Outputs]


def _plain(function: Callable[..., Tensor]) -> Function:
    return lambda spec, tensors: function(*tensors)


def _reducing(function: Callable[..., Tensor]) -> Function:
    def reduce(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
        [x] = tensors
        axis = spec.config.get("axis")
        axes = tuple(range(x.dim())) if axis is None else spec.integers("axis")
        return function(x, axes, keepdim=spec.flag("keepdims"))

    return reduce


def _along(function: Callable[[list[Tensor], int], Tensor], default: int) -> Function:
    return lambda spec, tensors: function(tensors, spec.integer("axis", default, least=-16))


def _any(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.bool().any(axes, keepdim)


def _all(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.bool().all(axes, keepdim)


def _matmul(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    ours, theirs = tensors
    ours = ours.transpose(-1, -2) if spec.flag("transpose_a") else ours
    return ours @ (theirs.transpose(-1, -2) if spec.flag("transpose_b") else theirs)


def _clip(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    return tensors[0].clamp(spec.number("x_min"), spec.number("x_max"))


def _l2_normalize(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    [x] = tensors
    axes = tuple(range(x.dim())) if spec.config.get("axis") is None else spec.integers("axis")
    return l2_normalized(x, axes)


def _cast(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    kind = spec.choice("dtype", ("float16", "float32", "float64", "int32", "int64", "bool"))
    if kind.startswith("float"):
        return tensors[0].to(tensors[0].dtype if tensors[0].is_floating_point() else torch.float32)
    return tensors[0].to(getattr(torch, kind))


def _like(value: float) -> Function:
    def like(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
        kind = torch.bool if spec.config.get("dtype") == "bool" else None
        return torch.full_like(tensors[0], value, dtype=kind)

    return like


def _where(condition: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
    return torch.where(condition.bool(), ours, theirs)


def _einsum(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    words = spec.config.get("subscripts")
    if not isinstance(words, str) or len(words) > 100:
        raise spec.refuse("subscripts", "what sums over which axes")
    return torch.einsum(words, *tensors)


def _activation(function: Activation) -> Function:
    return lambda spec, tensors: function(tensors[0])


def _softmax(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    return torch.softmax(tensors[0], spec.integer("axis", -1, least=-16))


def _leaky_relu(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    return F.leaky_relu(tensors[0], single(spec.number("negative_slope", 0.2)))


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Absolute": torch.abs,
    "Add": torch.add,
    "ConvertToTensor": lambda x: x,
    "Divide": torch.div,
    "Equal": torch.eq,
    "Exp": torch.exp,
    "Greater": torch.gt,
    "GreaterEqual": torch.ge,
    "Identity": lambda x: x,
    "Less": torch.lt,
    "LessEqual": torch.le,
    "Log": torch.log,
    "LogicalAnd": torch.logical_and,
    "LogicalNot": torch.logical_not,
    "LogicalOr": torch.logical_or,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "Multiply": torch.mul,
    "Negative": torch.neg,
    "NotEqual": torch.ne,
    "Power": torch.pow,
    "Sqrt": torch.sqrt,
    "Square": torch.square,
    "Subtract": torch.sub,
    "TrueDivide": torch.div,
    "Where": _where,
    **number_functions.ONE_TENSOR,
    **number_functions.TWO_TENSORS,
}
UNARY = (
    *("Abs", "Absolute", "ConvertToTensor", "Exp", "Identity", "Log", "LogicalNot", "Negative"),
    *("Sqrt", "Square", *number_functions.ONE_TENSOR),
)  # of these, the functions of one tensor
FUNCTIONS: dict[str, Function] = {
    **{name: _plain(function) for name, function in ELEMENTWISE.items()},
    **{
        name: _activation(ACTIVATIONS[name.lower()])
        for name in ("Relu", "Selu", "Sigmoid", "Silu", "Softplus", "Tanh")
    },
    "All": _reducing(_all),
    "Any": _reducing(_any),
    "Cast": _cast,
    "Clip": _clip,
    "Concatenate": _along(torch.cat, -1),
    "Einsum": _einsum,
    "ExpandDims": expand_dims,
    "Flip": flip,
    "GetItem": get_item,
    "L2Normalize": _l2_normalize,
    "LeakyRelu": _leaky_relu,
    "Matmul": _matmul,
    "Max": _reducing(torch.amax),
    "Mean": _reducing(torch.mean),
    "Min": _reducing(torch.amin),
    "OnesLike": _like(1.0),
    "Repeat": repeat,
    "Reshape": reshape,
    "Softmax": _softmax,
    "Split": split,
    "SplitBySizes": split_by_sizes,
    "Squeeze": squeeze,
    "Stack": _along(torch.stack, 0),
    "Sum": _reducing(torch.sum),
    "Swapaxes": swap_axes,
    "Take": take,
    "Tile": tile,
    "Transpose": transpose,
    "Unstack": unstack,
    "ZerosLike": _like(0.0),
    **more_operations.SETTINGS,
}
