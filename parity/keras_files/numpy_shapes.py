"""Keras' layers that move, join or rescale numbers in NumPy, from Keras' documentation."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from parity.keras_files.numpy_layers import Weights, integers, softmax
from parity.keras_files.numpy_model import Layer, NotFollowedError
from parity.question import Array


def _around(x: Array, layer: Layer, key: str) -> tuple[int, int]:
    before, after = integers(layer, key, 2)
    return before, after


def _padded(layer: Layer, x: Array, own: Weights) -> Array:
    return np.pad(x, [(0, 0), _around(x, layer, "padding"), (0, 0)])


def _cropped(layer: Layer, x: Array, own: Weights) -> Array:
    before, after = _around(x, layer, "cropping")
    return x[:, before : x.shape[1] - after]


def _cast(setting: Any) -> Array:
    """Read a number or numbers: those without a type TensorFlow rounds to float32 on their way."""
    if isinstance(setting, dict):
        return np.asarray(setting.get("config", setting)["value"], np.float64)
    return np.asarray(setting, np.float32).astype(np.float64)


def _pooled(layer: Layer, x: Array, own: Weights) -> Array:
    axes, keep = tuple(range(1, x.ndim - 1)), bool(layer.settings.get("keepdims"))
    pooled: Array = (x.max if "Max" in layer.kind else x.mean)(axis=axes, keepdims=keep)
    return pooled


def _rectified(layer: Layer, x: Array, own: Weights) -> Array:
    given = layer.settings
    if given.get("threshold") or given.get("negative_slope"):
        raise NotFollowedError(f"threshold or slope of {layer.name}")
    return np.clip(x, 0.0, given.get("max_value"))


MOVED: dict[str, Callable[[Layer, Array, Weights], Array]] = {
    "Cropping1D": _cropped,
    "Flatten": lambda layer, x, own: x.reshape(len(x), -1),
    "Permute": lambda layer, x, own: x.transpose(0, *layer.settings["dims"]),
    "ReLU": _rectified,
    "RepeatVector": lambda layer, x, own: np.repeat(x[:, None], layer.settings["n"], axis=1),
    "Rescaling": lambda layer, x, own: (
        x * _cast(layer.settings["scale"]) + _cast(layer.settings.get("offset", 0.0))
    ),
    "Reshape": lambda layer, x, own: x.reshape(len(x), *layer.settings["target_shape"]),
    "Softmax": lambda layer, x, own: softmax(x, *integers(layer, "axis", 1, -1)),
    "UpSampling1D": lambda layer, x, own: np.repeat(x, layer.settings["size"], axis=1),
    "ZeroPadding1D": _padded,
    **{f"Global{kind}Pooling{n}D": _pooled for kind in ("Max", "Average") for n in (1, 2)},
}
_MERGED: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Average": np.add,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Multiply": np.multiply,
    "Subtract": np.subtract,
}
MERGES = (*_MERGED, "Concatenate")


def merged(layer: Layer, values: Sequence[Array]) -> Array:
    """Return several tensors as one."""
    if layer.kind == "Concatenate":
        return np.concatenate(values, axis=layer.settings.get("axis", -1))
    if len({value.ndim for value in values}) > 1:
        raise NotFollowedError(f"tensors of several ranks in {layer.name}")
    whole: Array = reduce(_MERGED[layer.kind], values)
    return whole / len(values) if layer.kind == "Average" else whole
