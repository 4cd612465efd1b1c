"""Bare operations on tensors: Keras 3's own, and TensorFlow's in the files of tf.keras 2.4 on.

A closed table of names; each is a function of tensors and of the settings in the file. Outputs
have no mask, as in Keras.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.errors import InputError
from grulight.keras_files.activations import ACTIVATIONS, Activation, single
from grulight.keras_files.base import KerasLayer, Signal, Tree
from grulight.keras_files.network import PREFIX
from grulight.keras_files.normalization import l2_normalized
from grulight.keras_files.slices import sliced
from grulight.keras_files.spec import LayerSpec, Shape

MOST_PARTS = 1024  # tensors that one call may give; connections count no further
# Stand-ins for sizes that are open; an axis that differs between them stays open. They have many
# divisors, so that a Reshape finds what it needs.
OPEN_SIZES = (5040, 10080)

Outputs = Tensor | tuple[Tensor, ...]
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


def _reshape(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    shape = [size if size is not None else -1 for size in _list(spec, "newshape")]
    return tensors[0].reshape(shape)


def _transpose(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    [x] = tensors
    axes = spec.config.get("axes")
    return x.permute(tuple(reversed(range(x.dim()))) if axes is None else spec.integers("axes"))


def _split(spec: LayerSpec, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    [x], axis = tensors, spec.integer("axis", 0, least=-16)
    if isinstance(spec.config.get("indices_or_sections"), list):
        return torch.tensor_split(x, spec.integers("indices_or_sections"), axis)
    parts = spec.integer("indices_or_sections")
    if parts > MOST_PARTS or x.shape[axis] % parts:
        raise ValueError("parts of different sizes, or too many")
    return torch.tensor_split(x, parts, axis)


def _unstack(spec: LayerSpec, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    [x], axis = tensors, spec.integer("axis", 0, least=-16)
    if x.shape[axis] > MOST_PARTS:
        raise ValueError("too many parts, or as many as there are samples")
    return x.unbind(axis)


def _split_by_sizes(spec: LayerSpec, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.split(tensors[0], list(spec.integers("sizes")), spec.integer("axis", 0, least=-16))


def _squeeze(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    axis = spec.config.get("axis")
    if axis in (None, []):
        return tensors[0].squeeze()
    return tensors[0].squeeze(spec.integers("axis"))


def _take(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    [x], axis = tensors, spec.integer("axis", 0, least=-16)
    if type(spec.config.get("indices")) is int:
        return x.select(axis, spec.integer("indices", least=-x.shape[axis]))
    return x.index_select(axis, torch.tensor(spec.integers("indices"), device=x.device))


def _repeat(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    count = spec.integer("repeats")
    return tensors[0].repeat_interleave(count, spec.integer("axis", least=-16))


def _tile(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    return tensors[0].tile(spec.integers("repeats"))


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


def _expand(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(spec.integer("axis", -1, least=-16))


PLAIN: dict[str, Callable[..., Tensor]] = {
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
}
OF_ONE = (
    *("Absolute", "ConvertToTensor", "Exp", "Identity", "Log", "LogicalNot", "Negative"),
    *("Sqrt", "Square"),
)  # of these, the functions of one tensor
FUNCTIONS: dict[str, Function] = {
    **{name: _plain(function) for name, function in PLAIN.items()},
    **{
        name: _activation(ACTIVATIONS[name.lower()])
        for name in ("Elu", "Gelu", "Relu", "Selu", "Sigmoid", "Silu", "Softplus", "Tanh")
    },
    "All": _reducing(_all),
    "Any": _reducing(_any),
    "Cast": _cast,
    "Clip": _clip,
    "Concatenate": _along(torch.cat, -1),
    "Einsum": _einsum,
    "ExpandDims": _expand,
    "Flip": lambda spec, tensors: tensors[0].flip(spec.integers("axis")),
    "GetItem": lambda spec, tensors: sliced(tensors[0], _list(spec, "index")),
    "L2Normalize": _l2_normalize,
    "LeakyRelu": _leaky_relu,
    "Matmul": _matmul,
    "Max": _reducing(torch.amax),
    "Mean": _reducing(torch.mean),
    "Min": _reducing(torch.amin),
    "OnesLike": _like(1.0),
    "Repeat": _repeat,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Split": _split,
    "SplitBySizes": _split_by_sizes,
    "Squeeze": _squeeze,
    "Stack": _along(torch.stack, 0),
    "Sum": _reducing(torch.sum),
    "Swapaxes": lambda spec, tensors: tensors[0].transpose(
        spec.integer("axis1", least=-16), spec.integer("axis2", least=-16)
    ),
    "Take": _take,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unstack": _unstack,
    "ZerosLike": _like(0.0),
}


def _list(spec: LayerSpec, key: str) -> list[Any]:
    value = spec.config.get(key)
    if not isinstance(value, list) or len(value) > 16:
        raise spec.refuse(key, "a list")
    return value


def _shapes(spec: LayerSpec, sizes: list[list[int]]) -> list[tuple[int, ...]]:
    """Return the shapes of the outputs for inputs of these sizes."""
    kind = spec.kind.removeprefix(PREFIX)
    if kind in PLAIN:  # meta tensors load much of torch for some of these
        if len(sizes) != (1 if kind in OF_ONE else 3 if kind == "Where" else 2):
            raise ValueError("another number of tensors")
        return [np.broadcast_shapes(*map(tuple, sizes))]
    outputs = FUNCTIONS[kind](spec, [torch.empty(each, device="meta") for each in sizes])
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    return [tuple(each.shape) for each in several]


class Operation(KerasLayer):
    """An operation of the table; its outputs have no mask."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.spec = spec
        self.function = FUNCTIONS[spec.kind.removeprefix(PREFIX)]

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return what tensors without numbers give; a number has the shape ()."""
        found = []
        for size in OPEN_SIZES:
            sizes = [[size if n is None else n for n in shape] for shape in shapes]
            try:
                found.append(_shapes(spec, sizes))
            except InputError:
                raise
            except (RuntimeError, ValueError, IndexError, TypeError, OverflowError):
                raise spec.refuse(
                    "inputs", f"inputs that {spec.kind} takes, got {shapes}"
                ) from None
        if len(found[0]) != len(found[1]):
            raise spec.refuse("axis", "one that does not part the samples")
        return tuple(
            tuple(n if n == m else None for n, m in zip(ours, theirs, strict=True))
            for ours, theirs in zip(*found, strict=True)
        )

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the result, or results."""
        outputs = self.function(self.spec, [each.value for each in signals])
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(Signal(each) for each in several)


OPERATIONS: dict[str, type[KerasLayer]] = {PREFIX + name: Operation for name in FUNCTIONS}
