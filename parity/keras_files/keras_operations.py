"""Bare operations in current Keras, by the names that the reader gives them."""

import inspect
from collections.abc import Callable
from typing import Any

from grulight.keras_files.layers.slices import part_of
from grulight.keras_files.plan.native_groups import snake
from grulight.keras_files.plan.spec import LayerSpec
from parity.sides.keras_setup import ops

PLAIN: dict[str, Callable[..., Any]] = {
    "Absolute": ops.abs,
    "Add": ops.add,
    "ConvertToTensor": lambda x: x,
    "Divide": ops.divide,
    "Equal": ops.equal,
    "Exp": ops.exp,
    "Greater": ops.greater,
    "GreaterEqual": ops.greater_equal,
    "Identity": lambda x: x,
    "Less": ops.less,
    "LessEqual": ops.less_equal,
    "Log": ops.log,
    "LogicalAnd": ops.logical_and,
    "LogicalNot": ops.logical_not,
    "LogicalOr": ops.logical_or,
    "Maximum": ops.maximum,
    "Minimum": ops.minimum,
    "Multiply": ops.multiply,
    "Negative": ops.negative,
    "NotEqual": ops.not_equal,
    "Power": ops.power,
    "Relu": ops.relu,
    "Selu": ops.selu,
    "Sigmoid": ops.sigmoid,
    "Silu": ops.silu,
    "Softplus": ops.softplus,
    "Sqrt": ops.sqrt,
    "Square": ops.square,
    "Subtract": ops.subtract,
    "Tanh": ops.tanh,
    "TrueDivide": ops.true_divide,
    "Where": ops.where,
}
REDUCING = {
    "All": ops.all,
    "Any": ops.any,
    "Max": ops.max,
    "Mean": ops.mean,
    "Min": ops.min,
    "Sum": ops.sum,
}


def operation(spec: LayerSpec) -> Callable[..., Any]:
    """Return an operation as a function of tensors."""
    kind = spec.kind.removeprefix("operation ")
    if kind in PLAIN:
        return PLAIN[kind]
    given = dict(spec.config)
    axis, keepdims = given.get("axis"), spec.flag("keepdims")
    if kind in REDUCING:
        function, axes = REDUCING[kind], tuple(axis) if isinstance(axis, list) else axis
        return lambda x: function(x, axis=axes, keepdims=keepdims)
    functions: dict[str, Callable[..., Any]] = {
        "Cast": lambda x: ops.cast(x, _same(x, given["dtype"])),
        "Clip": lambda x: ops.clip(x, given["x_min"], given["x_max"]),
        "Concatenate": lambda *values: ops.concatenate(values, -1 if axis is None else axis),
        "Einsum": lambda *values: ops.einsum(given["subscripts"], *values),
        "ExpandDims": lambda x: ops.expand_dims(x, -1 if axis is None else axis),
        "Flip": lambda x: ops.flip(x, axis),
        "GetItem": lambda x: x[tuple(map(part_of, given["index"]))],
        "L2Normalize": lambda x: ops.normalize(x, axis, 2, 1e-12),
        "LeakyRelu": lambda x: ops.leaky_relu(x, given.get("negative_slope", 0.2)),
        "Matmul": lambda ours, theirs: ops.matmul(
            _turned(ours, given.get("transpose_a")), _turned(theirs, given.get("transpose_b"))
        ),
        "OnesLike": lambda x: ops.ones_like(x, dtype=given.get("dtype")),
        "Repeat": lambda x: ops.repeat(x, given["repeats"], axis),
        "Reshape": lambda x: ops.reshape(x, given["newshape"]),
        "Softmax": lambda x: ops.softmax(x, -1 if axis is None else axis),
        "Split": lambda x: ops.split(x, given["indices_or_sections"], axis or 0),
        "SplitBySizes": lambda x: ops.split(x, _ends(given["sizes"]), axis or 0),
        "Squeeze": lambda x: ops.squeeze(x, axis),
        "Stack": lambda *values: ops.stack(values, axis or 0),
        "Swapaxes": lambda x: ops.swapaxes(x, given["axis1"], given["axis2"]),
        "Take": lambda x: ops.take(x, given["indices"], axis or 0),
        "Tile": lambda x: ops.tile(x, given["repeats"]),
        "Transpose": lambda x: ops.transpose(x, given.get("axes")),
        "Unstack": lambda x: ops.unstack(x, axis=axis or 0),
        "ZerosLike": lambda x: ops.zeros_like(x, dtype=given.get("dtype")),
    }
    return functions.get(kind) or _by_its_own_words(kind, given)


def _by_its_own_words(kind: str, given: dict[str, Any]) -> Callable[..., Any]:
    """Return an operation whose settings in files are the words of Keras' function."""
    if kind == "SquaredDifference":
        return lambda ours, theirs: ops.square(ours - theirs)
    function: Callable[..., Any] = getattr(ops, snake(kind))
    known = inspect.signature(function).parameters
    words = {k: v for k, v in given.items() if k in known and k != "dtype" and v is not None}
    if kind == "Pad":
        words |= {"mode": "constant", "constant_values": given.get("constant_values") or 0}
    if kind == "Gelu":
        words.setdefault("approximate", False)
    return lambda *tensors: function(*tensors, **words)


def _same(x: Any, dtype: str) -> str:
    """Return the type to cast to: among floats, the one at hand."""
    floats = dtype.startswith("float") and "float" in str(x.dtype)
    return str(x.dtype) if floats else dtype


def _turned(x: Any, turn: bool | None) -> Any:
    return ops.swapaxes(x, -1, -2) if turn else x


def _ends(sizes: list[int]) -> list[int]:
    return [sum(sizes[:at]) for at in range(1, len(sizes))]
