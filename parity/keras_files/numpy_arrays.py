"""A Keras file read once more for the NumPy witness: from its JSON and its arrays, without a port.

Nothing of our own reading is used, so that a mistake in it does not go unnoticed: not the plan, not
the versions, not where arrays lie. What is not understood is not followed.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from parity.keras_files.arrays import in_current_layout
from parity.keras_files.numpy_model import WRAPPED, Layer, NotFollowedError, Written
from parity.question import Arrays

# What native files number, in order; `vars` of a layer's cell where it has one.
_KERNEL, _CELL = ("kernel", "bias"), ("kernel", "recurrent_kernel", "bias")
VARIABLES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Dense", "Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D"), _KERNEL),
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN"), _CELL),
    **dict.fromkeys(
        ("SeparableConv1D", "SeparableConv2D"), ("depthwise_kernel", "pointwise_kernel", "bias")
    ),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "LayerNormalization": ("gamma", "beta"),
    "Embedding": ("embeddings",),
    "Normalization": ("mean", "variance"),
    "PReLU": ("alpha",),
}
_UNSET = {"gamma": "scale", "beta": "center", "bias": "use_bias"}  # settings that leave some out
# Keras 1's words (keras-team/keras, 1.2.2)
_ARRAYS = {"W": "kernel", "b": "bias", "running_mean": "moving_mean"}
_ARRAYS |= {"running_std": "moving_variance", "depthwise_kernel": "depthwise_kernel"}


class File:
    """A file, open for reading; `written`, `config` and the arrays of a layer."""

    def __init__(self, tree: h5py.File, config: Any, version: str | None, most: int) -> None:
        self.tree, self.config, self.most = tree, config, most
        self.groups = tree.get("model_weights", tree)
        backend = _text(self.groups.attrs.get("backend", tree.attrs.get("backend")))
        said = version or _text(
            self.groups.attrs.get("keras_version", tree.attrs.get("keras_version"))
        )
        said = said or config.get("keras_version") or ("3" if "layers" in tree else "1")
        numbers = [int(each) for each in re.findall(r"\d+", said)[:2]]
        names = [name for group in self.groups.values() for name in _listed(group)]
        theano = backend == "theano" or (
            numbers[0] == 1 and not backend and not any(":" in name for name in names)
        )
        self.written = Written(numbers[0], "-tf" in said or numbers >= [2, 4], theano)
        self.seen: dict[str, int] = {}  # how many layers of a class came before, in native files

    def arrays(self, layer: Layer) -> Arrays:
        """Return the arrays of a layer under Keras' names; layers are asked for in order."""
        native = "layers" in self.tree and "layer_names" not in self.groups.attrs
        held = self._native(layer) if native else self._legacy(layer)
        if layer.written.theano and "Conv" in layer.kind and "kernel" in held:
            axes = range(held["kernel"].ndim - 2)
            held["kernel"] = np.flip(held["kernel"], tuple(axes))
        return held

    def _native(self, layer: Layer) -> Arrays:
        kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", layer.kind)
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
        at = self.seen[kind] = self.seen.get(kind, -1) + 1
        group = self.tree["layers"].get(kind if at == 0 else f"{kind}_{at}")
        if not isinstance(group, h5py.Group):
            raise NotFollowedError(f"no group of {layer.name}")
        said = _text(group["vars"].attrs.get("name")) if "vars" in group else None
        if said not in (None, layer.name):
            raise NotFollowedError(f"the group of {said} where {layer.name} is expected")
        return self._of_group(layer, group)

    def _of_group(self, layer: Layer, group: h5py.Group) -> Arrays:
        if layer.inner:
            found: Arrays = {}
            for part, inner in zip(WRAPPED[layer.kind], layer.inner, strict=False):
                held = self._of_group(inner, group[part or "layer"])
                found |= {f"{part}/{n}" if part else n: array for n, array in held.items()}
            return found
        group = group.get("cell", group)
        off = {name for name, key in _UNSET.items() if layer.settings.get(key) is False}
        names = [name for name in VARIABLES.get(layer.kind, ()) if name not in off]
        held = group.get("vars", {})
        return {name: self._read(held, str(at)) for at, name in enumerate(names) if str(at) in held}

    def _legacy(self, layer: Layer) -> Arrays:
        group = self.groups.get(layer.name)
        listed = _listed(group)
        ends = [name.rpartition("/")[2].partition(":")[0] for name in listed]
        ends = [end.removeprefix(f"{layer.name}_") for end in ends]
        named = [_ARRAYS.get(end, end) for end in ends]
        if layer.kind == "Embedding":
            named = ["embeddings" for _ in named]
        if layer.kind == "Bidirectional":
            half = len(named) // 2
            named = [
                f"{WRAPPED['Bidirectional'][at >= half]}/{name}" for at, name in enumerate(named)
            ]
        if len({*named}) < len(named):
            raise NotFollowedError(f"arrays of {layer.name} that are named alike")
        found = {n: self._read(group, path) for n, path in zip(named, listed, strict=True)}
        if layer.kind == "Bidirectional":
            return _by_part(found)
        if any(end.startswith("U_") for end in ends):
            found = dict(zip(ends, found.values(), strict=True))
        if layer.kind == "Conv1D" and found.get("kernel", np.empty(0)).ndim == 4:
            found["kernel"] = _of_keras_1(found["kernel"], layer)
        return in_current_layout(found)

    def _read(self, group: Any, path: str) -> np.ndarray:
        array = group[path]
        if not isinstance(array, h5py.Dataset) or array.size > self.most:
            raise NotFollowedError(f"{path} is no array of this model")
        return np.asarray(array[()], np.float64)


def _by_part(found: Arrays) -> Arrays:
    whole: Arrays = {}
    for part in WRAPPED["Bidirectional"]:
        own = {n.partition("/")[2]: a for n, a in found.items() if n.startswith(f"{part}/")}
        whole |= {f"{part}/{name}": array for name, array in in_current_layout(own).items()}
    return whole


def _of_keras_1(kernel: np.ndarray, layer: Layer) -> np.ndarray:
    """Return (length, inputs, filters) of (length, 1, inputs, filters) or Theano's other order."""
    length, filters = layer.settings.get("filter_length"), layer.settings.get("nb_filter")
    straight = kernel.shape[:2] == (length, 1) and kernel.shape[3] == filters
    return kernel[:, 0] if straight else kernel[..., 0].transpose(2, 1, 0)


def _listed(group: Any) -> list[str]:
    if not isinstance(group, h5py.Group) or "weight_names" not in group.attrs:
        return []
    return [str(_text(name)) for name in group.attrs["weight_names"]]


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


@contextmanager
def opened(path: Path, config: str | Path | None, most: int) -> Iterator[File]:
    """Open a file that the reader has looked at before; arrays have ``most`` numbers at most."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            held = archive.read("model.weights.h5")
            said = json.loads(archive.read("config.json"))
            version = json.loads(archive.read("metadata.json")).get("keras_version")
        with h5py.File(io.BytesIO(held), "r") as tree:
            yield File(tree, said, version, most)
        return
    with h5py.File(path, "r") as tree:
        text = tree.attrs.get("model_config")
        text = Path(config).read_text() if text is None and config is not None else text
        yield File(tree, json.loads(text), None, most)
