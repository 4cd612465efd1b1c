"""The arrays of a Keras file in current Keras' layout, without the port that is to be proven."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from grulight.keras_files.layers.network import Network
from grulight.keras_files.plan.placement import place
from grulight.keras_files.plan.spec import Graph, LayerSpec
from grulight.keras_files.reader.container import read_container
from grulight.keras_files.reader.untrusted_text import Json, naming, reading
from parity.keras_files.layout import by_path
from parity.question import Array, Arrays


def arrays_of(
    path: Path, config: str | Path | None, graph: Graph, like: Arrays
) -> tuple[Arrays, dict[str, Json]]:
    """Read a file's arrays by layer and name, and its configuration.

    Args:
        path: The file.
        config: The model's JSON, for a file of weights alone.
        graph: The model.
        like: Arrays of the shapes that current Keras has.
    """
    with reading(path), naming(path):
        container = read_container(path, config)
        spec = LayerSpec("model", "Functional", {}, container.version, graph=graph)
        held = place(Network.variables(spec, graph.shapes), container.weights, graph)
        arrays = by_path(in_current_layout(held))
        for name, array in arrays.items():
            if name.endswith("/kernel") and name in like and like[name].ndim == 3:
                arrays[name] = _conv1d(array, like[name].shape, container.version.backend)
        return arrays, container.config


def in_current_layout(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree with every GRU as current Keras keeps it."""
    held: dict[str, Any] = {
        name: in_current_layout(each) if isinstance(each, Mapping) else each
        for name, each in tree.items()
    }
    if "U_z" in held or "U_i" in held:
        return _of_keras_1(held, "zrh" if "U_z" in held else "ifco")
    flat_bias = "recurrent_kernel" in held and "bias" in held and held["bias"].ndim == 1
    if flat_bias and held["bias"].size == 2 * held["kernel"].shape[1]:
        return _of_cudnn(held)
    return held


def _of_keras_1(held: Mapping[str, Array], gates: str) -> Arrays:
    """Put the gates side by side."""
    names = {"kernel": "W", "recurrent_kernel": "U", "bias": "b"}
    return {
        name: np.concatenate([held[f"{part}_{gate}"] for gate in gates], axis=-1)
        for name, part in names.items()
    }


def _of_cudnn(held: Mapping[str, Array]) -> Arrays:
    """Undo cuDNN's order, gate by gate (tf_keras/src/saving/legacy/hdf5_format.py)."""
    units, wide = held["recurrent_kernel"].shape
    kernels = np.split(held["kernel"], wide // units, axis=1)
    recurrent = np.split(held["recurrent_kernel"], wide // units, axis=1)
    biases = held["bias"].reshape(2, -1)
    return {
        "kernel": np.hstack([k.reshape(k.shape[::-1]).T for k in kernels]),
        "recurrent_kernel": np.hstack([k.T for k in recurrent]),
        "bias": biases if wide == 3 * units else biases[0] + biases[1],  # an LSTM has one
    }


def _conv1d(kernel: Array, shape: tuple[int, ...], backend: str) -> Array:
    """Drop the fourth axis of Keras 1, and turn what Theano convolves with."""
    if kernel.ndim == 4:
        kernel = kernel[:, 0] if kernel[:, 0].shape == shape else kernel[..., 0].transpose(2, 1, 0)
    return np.flip(kernel, 0) if backend == "theano" else kernel
