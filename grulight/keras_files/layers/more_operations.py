"""More operations on tensors, with settings: sums of many kinds, activations, and shapes."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.keras_files.layers.activations import ACTIVATIONS, single
from grulight.keras_files.plan.spec import LayerSpec

Function = Callable[[LayerSpec, list[Tensor]], Tensor]
MOST_CLASSES = 1 << 16  # of one-hot vectors


def _axes(spec: LayerSpec, x: Tensor) -> tuple[int, ...]:
    every = tuple(range(x.dim()))
    return every if spec.config.get("axis") is None else spec.integers("axis")


def _variance(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    [x] = tensors
    return x.var(_axes(spec, x), correction=0, keepdim=spec.flag("keepdims"))


def _deviation(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    return _variance(spec, tensors).sqrt()


def _product(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    x = tensors[0]
    for axis in sorted((axis % x.dim() for axis in _axes(spec, x)), reverse=True):
        x = x.prod(axis, keepdim=spec.flag("keepdims"))
    return x


def _logsumexp(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    [x] = tensors
    return torch.logsumexp(x, _axes(spec, x), keepdim=spec.flag("keepdims"))


def _place(function: Callable[..., Tensor]) -> Function:
    def place(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
        axis = None if spec.config.get("axis") is None else spec.integer("axis", least=-16)
        return function(tensors[0], axis, keepdim=spec.flag("keepdims"))

    return place


def _running(function: Callable[[Tensor, int], Tensor]) -> Function:
    def running(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
        if spec.config.get("axis") is None:
            return function(tensors[0].flatten(), 0)
        return function(tensors[0], spec.integer("axis", least=-16))

    return running


def _one_hot(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    classes = spec.integer("num_classes")
    if classes > MOST_CLASSES or spec.integer("axis", -1, least=-1) != -1 or spec.flag("sparse"):
        raise spec.refuse("num_classes", f"at most {MOST_CLASSES}, along the last axis")
    places = torch.arange(classes, device=tensors[0].device)
    return (tensors[0][..., None].to(torch.int64) == places).to(torch.get_default_dtype())


def _broadcast_to(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    shape = spec.config.get("shape")
    sizes = shape if isinstance(shape, list) else []
    if not sizes or any(size is not None and type(size) is not int for size in sizes):
        raise spec.refuse("shape", "sizes")
    return tensors[0].expand([-1 if size is None else size for size in sizes])


def _move_axis(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    return tensors[0].movedim(spec.integers("source"), spec.integers("destination"))


def _roll(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    if spec.config.get("axis") is None:
        return torch.roll(tensors[0], spec.integers("shift"))
    return torch.roll(tensors[0], spec.integers("shift"), spec.integers("axis"))


def _pad(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    width, x = spec.config.get("pad_width"), tensors[0]
    spec.choice("mode", ("constant", "CONSTANT"), "constant")
    pairs = width if isinstance(width, list) and len(width) == x.dim() else []
    if not pairs or not all(isinstance(each, list) and len(each) == 2 for each in pairs):
        raise spec.refuse("pad_width", "two numbers for each axis")
    ends = [end for pair in reversed(pairs) for end in pair]
    if not all(type(end) is int and 0 <= end < 1 << 24 for end in ends):
        raise spec.refuse("pad_width", "two numbers for each axis")
    given = spec.config.get("constant_values")
    return F.pad(x, ends, value=0.0 if given is None else spec.number("constant_values"))


def _triangle(function: Callable[[Tensor, int], Tensor]) -> Function:
    return lambda spec, tensors: function(tensors[0], spec.integer("k", 0, least=-(1 << 20)))


def _norm(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    [x] = tensors
    order = 2.0 if spec.config.get("ord") in (None, "euclidean") else spec.number("ord")
    axes = _axes(spec, x)
    if order not in (1.0, 2.0) or (order != 2.0 and len(axes) > 1):
        raise spec.refuse("ord", "1 or 2, along one axis")
    keep = spec.flag("keepdims")
    if order == 1.0:
        return x.abs().sum(axes, keepdim=keep)
    return x.square().sum(axes, keepdim=keep).sqrt()


def _thresholded(function: Callable[[Tensor, float], Tensor]) -> Function:
    return lambda spec, tensors: function(tensors[0], spec.number("threshold", 0.5))


def _gelu(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    # Keras 3's operation approximates unless told not to; TensorFlow's function does not
    if spec.flag("approximate"):
        x = tensors[0]
        cubic = x + single(0.044715) * x.pow(3)
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * cubic))
    return ACTIVATIONS["gelu"](tensors[0])


def _elu(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    return F.elu(tensors[0], spec.number("alpha", 1.0))


def _celu(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    [x], alpha = tensors, spec.number("alpha", 1.0)
    return x.clamp(min=0) + alpha * torch.expm1(x.clamp(max=0) / alpha)


def _squareplus(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    [x] = tensors
    return (x + torch.sqrt(x.square() + spec.number("b", 4.0))) / 2


def _sparsemax(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    axis = spec.integer("axis", -1, least=-16)
    return ACTIVATIONS["sparsemax"](tensors[0].movedim(axis, -1)).movedim(-1, axis)


def _soft(function: Callable[[Tensor, int], Tensor]) -> Function:
    return lambda spec, tensors: function(tensors[0], spec.integer("axis", -1, least=-16))


SETTINGS: dict[str, Function] = {
    "Amax": lambda spec, tensors: tensors[0].amax(_axes(spec, tensors[0]), spec.flag("keepdims")),
    "Amin": lambda spec, tensors: tensors[0].amin(_axes(spec, tensors[0]), spec.flag("keepdims")),
    "Argmax": _place(torch.argmax),
    "Argmin": _place(torch.argmin),
    "BroadcastTo": _broadcast_to,
    "Celu": _celu,
    "Cumprod": _running(torch.cumprod),
    "Cumsum": _running(torch.cumsum),
    "Elu": _elu,
    "Gelu": _gelu,
    "Glu": _soft(F.glu),
    "HardShrink": _thresholded(F.hardshrink),
    "LogSoftmax": _soft(torch.log_softmax),
    "Logsumexp": _logsumexp,
    "Moveaxis": _move_axis,
    "Norm": _norm,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Prod": _product,
    "Ravel": lambda spec, tensors: tensors[0].flatten(),
    "Roll": _roll,
    "SoftShrink": _thresholded(F.softshrink),
    "Sparsemax": _sparsemax,
    "Squareplus": _squareplus,
    "Std": _deviation,
    "Tril": _triangle(torch.tril),
    "Triu": _triangle(torch.triu),
    "Var": _variance,
}
