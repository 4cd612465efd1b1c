"""Keras' layers without memory in NumPy, from Keras' documentation: a value and a mask in, and out.

Legend: B batch, T time, C channels, F filters; the last axis of everything holds the features.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial, reduce
from itertools import product

import numpy as np

from parity.controls.wrong_answers import hard_sigmoid_of_keras_2, hard_sigmoid_of_keras_3
from parity.keras_files.numpy_model import Layer, NotFollowedError
from parity.question import Array

Function = Callable[[Array], Array]
Weights = Mapping[str, Array]
INERT = (
    *("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout"),
    *("ActivityRegularization", "Activation"),
)
# What hands on a mask in every Keras; what else a masked tensor reaches is not followed, but for
# layers of their own rule.
PASSING = (*INERT, "Dense", "BatchNormalization", "LayerNormalization", "ReLU", "LeakyReLU", "ELU")
SLOPE = float(np.float32(0.2))  # of the function; TensorFlow keeps it in float32


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x) without overflow."""
    small = np.exp(-np.abs(x))
    shares: Array = np.where(x >= 0, 1.0, small) / (1.0 + small)
    return shares


def softmax(x: Array, axis: int = -1) -> Array:
    """Return e^x by its sum over an axis."""
    raised = np.exp(x - x.max(axis=axis, keepdims=True))
    shares: Array = raised / raised.sum(axis=axis, keepdims=True)
    return shares


ACTIVATIONS: dict[str, Function] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "exponential": np.exp,
    "leaky_relu": lambda x: np.where(x > 0, x, SLOPE * x),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "softmax": softmax,
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "tanh": np.tanh,
}


def function(layer: Layer, key: str, default: str = "linear") -> Function:
    """Return an activation of a layer."""
    name = layer.settings.get(key, default) or "linear"
    if name == "hard_sigmoid":
        return hard_sigmoid_of_keras_2 if layer.written.major < 3 else hard_sigmoid_of_keras_3
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise NotFollowedError(f"{key} {name} of {layer.name}")
    return ACTIVATIONS[name]


def integers(layer: Layer, key: str, count: int, default: int = 1) -> list[int]:
    """Return a setting that is a number or a list of so many."""
    value = layer.settings.get(key)
    value = default if value is None else value
    return [*value] if isinstance(value, list) else [value] * count


def dense(layer: Layer, x: Array, own: Weights) -> Array:
    """Return f(x W + b)."""
    return function(layer, "activation")(x @ own["kernel"] + own.get("bias", 0.0))


def padded(layer: Layer, x: Array, spans: list[int], strides: list[int], fill: float) -> Array:
    """Pad the axes between batch and channels so that windows of these spans cover them."""
    rule, widths = layer.settings.get("padding", "valid"), []
    if layer.settings.get("data_format", "channels_last") != "channels_last":
        raise NotFollowedError(f"data_format of {layer.name}")
    for length, span, stride in zip(x.shape[1:-1], spans, strides, strict=True):
        total = max((-(-length // stride) - 1) * stride + span - length, 0)
        choices = {"valid": (0, 0), "causal": (span - 1, 0)}
        widths.append(choices.get(rule, (total // 2, total - total // 2)))
    return np.pad(x, [(0, 0), *widths, (0, 0)], constant_values=fill)


def windows(
    x: Array, size: tuple[int, ...], strides: list[int], dilation: list[int]
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Yield for each place in a window what all windows have there."""
    sizes = zip(x.shape[1:-1], size, strides, dilation, strict=True)
    counts = [(length - (k - 1) * d - 1) // s + 1 for length, k, s, d in sizes]
    for place in product(*map(range, size)):
        starts = [at * d for at, d in zip(place, dilation, strict=True)]
        cut = tuple(
            slice(start, start + (count - 1) * s + 1, s)
            for start, count, s in zip(starts, counts, strides, strict=True)
        )
        yield place, x[(slice(None), *cut)]


def convolution(layer: Layer, x: Array, own: Weights) -> Array:
    """Return f(sum over a window of x W + b), the features in groups or each by itself."""
    separable = "pointwise_kernel" in own
    kernel = own.get("depthwise_kernel", own.get("kernel"))
    assert kernel is not None
    size, alone = kernel.shape[:-2], separable or layer.kind.startswith("Depthwise")
    strides, dilation = (integers(layer, k, len(size)) for k in ("strides", "dilation_rate"))
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    whole = padded(layer, x, spans, strides, 0.0)
    multiplied = partial(_by_itself if alone else _in_groups, layer.settings.get("groups") or 1)
    parts = windows(whole, size, strides, dilation)
    total = reduce(np.add, (multiplied(part, kernel[place]) for place, part in parts))
    total = total @ own["pointwise_kernel"].reshape(total.shape[-1], -1) if separable else total
    return function(layer, "activation")(total + own.get("bias", 0.0))


def _by_itself(groups: int, part: Array, kernel: Array) -> Array:
    """Return every feature times each of its weights."""
    return (part[..., None] * kernel).reshape(*part.shape[:-1], -1)


def _in_groups(groups: int, part: Array, kernel: Array) -> Array:
    """Return the features of each group times its part of the kernel, side by side."""
    pairs = zip(*(np.split(each, groups, axis=-1) for each in (part, kernel)), strict=True)
    return np.concatenate([each @ weights for each, weights in pairs], axis=-1)


def pooling(layer: Layer, x: Array, own: Weights) -> Array:
    """Return the largest or the mean of each window, without what was padded."""
    dims = x.ndim - 2
    size = integers(layer, "pool_size", dims, 2)
    given = layer.settings.get("strides")
    strides = size if given is None else integers(layer, "strides", dims)
    whole = padded(layer, x, size, strides, math.nan)
    parts = np.stack([part for _, part in windows(whole, tuple(size), strides, [1] * dims)])
    pooled: Array = (np.nanmax if layer.kind.startswith("Max") else np.nanmean)(parts, 0)
    return pooled


def batch_normalization(layer: Layer, x: Array, own: Weights) -> Array:
    """Return gamma (x - mean) / sqrt(variance + epsilon) + beta."""
    [axis] = integers(layer, "axis", 1, -1)
    x = np.moveaxis(x, axis, -1)
    root = np.sqrt(own["moving_variance"] + layer.settings.get("epsilon", 1e-3))
    y: Array = own.get("gamma", 1.0) * (x - own["moving_mean"]) / root + own.get("beta", 0.0)
    return np.moveaxis(y, -1, axis)


def layer_normalization(layer: Layer, x: Array, own: Weights) -> Array:
    """Return gamma (x - mean) / sqrt(variance + epsilon) + beta, of each sample's own features."""
    axes = [axis % x.ndim for axis in integers(layer, "axis", 1, -1)]
    if axes != [x.ndim - 1] or layer.settings.get("rms_scaling"):
        raise NotFollowedError(f"axis or rms_scaling of {layer.name}")
    root = np.sqrt(x.var(-1, keepdims=True) + layer.settings.get("epsilon", 1e-3))
    y: Array = own.get("gamma", 1.0) * (x - x.mean(-1, keepdims=True)) / root
    y = y + own.get("beta", 0.0)
    return y


def normalization(layer: Layer, x: Array, own: Weights) -> Array:
    """Return (x - mean) / sqrt(variance) of the last axis."""
    if integers(layer, "axis", 1, -1) not in ([-1], [x.ndim - 1]) or "mean" not in own:
        raise NotFollowedError(f"axis of {layer.name}, or statistics in its settings")
    root = np.maximum(np.sqrt(own["variance"]), 1e-7)
    turned = bool(layer.settings.get("invert"))
    y: Array = x * root + own["mean"] if turned else (x - own["mean"]) / root
    return y


def rectified(layer: Layer, x: Array, own: Weights) -> Array:
    """Return LeakyReLU, ELU or PReLU of x."""
    old = layer.settings.get("alpha")
    if layer.kind == "ELU":
        alpha = 1.0 if old is None else old
        return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))
    slope = layer.settings.get("negative_slope", 0.3) if old is None else old
    return np.where(
        x > 0, x, own.get("alpha", float(np.float32(slope))) * x
    )  # as TensorFlow keeps it


COMPUTED: dict[str, Callable[[Layer, Array, Weights], Array]] = {
    **{f"{kind}Conv{n}D": convolution for kind in ("", "Depthwise", "Separable") for n in (1, 2)},
    **{f"{kind}Pooling{n}D": pooling for kind in ("Max", "Average") for n in (1, 2)},
    **dict.fromkeys(("LeakyReLU", "ELU", "PReLU"), rectified),
    "BatchNormalization": batch_normalization,
    "Dense": dense,
    "LayerNormalization": layer_normalization,
    "Normalization": normalization,
}
