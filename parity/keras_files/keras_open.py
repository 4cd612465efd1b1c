"""The Keras model that a file stands for: opened by Keras itself, or rebuilt in it."""

import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from grulight.errors import InputError, one_line
from grulight.keras_files.plan.spec import Graph
from grulight.keras_files.reader.untrusted_text import Json
from parity.keras_files.inputs import Input
from parity.keras_files.keras_rebuild import rebuilt
from parity.keras_files.limits import NOISE
from parity.keras_files.names_in_file import named_arrays, shards_of, tensorflow_js
from parity.keras_files.opening_rules import changed_meanings, uncomputed, unscoped, untrusted
from parity.question import Arrays
from parity.sides.keras_setup import keras
from parity.sides.quiet import without_warnings

INNER = ("forward_layer", "backward_layer", "cell", "layer")
HEADS = {  # of MultiHeadAttention
    **{part: f"_{part}_dense" for part in ("query", "key", "gate", "value")},
    "attention_output": "_output_dense",
}
LONGEST = 160  # of what Keras says
SHORT = {"cell": "", "layer": ""}  # parts whose variables count as the layer's own


class Opened(NamedTuple):
    """A model in Keras.

    Attributes:
        make: Makes it in a precision.
        name: Who bears witness, for reports.
        read: The file's weights as this Keras has them.
    """

    make: Callable[[str], Any]
    name: str
    read: Arrays


def their_model(
    path: Path,
    weights: Arrays,
    graph: Graph,
    inputs: tuple[Input, ...],
    config: dict[str, Json],
    apart: bool = False,
) -> tuple[Opened, str | None]:
    """Return who bears witness, and where it is not Keras itself, why not.

    The weights are the file's; ``apart`` says that the configuration was given apart from it.

    Raises:
        InputError: Keras has no such model.
    """
    version = f"Keras {keras.__version__}"
    reason = untrusted(config) or changed_meanings(graph) or unscoped(graph) or uncomputed(graph)
    if reason is None:
        with without_warnings():
            opened = _opened(path, weights, config if apart else None)
        if not isinstance(opened, str):
            read = {name: v.numpy() for name, v in variables_of(opened).items()}
            return Opened(lambda dtype: _copy(opened, dtype), version, read), None
        reason = opened
    name, read = f"rebuilt in {version}", weights | named_arrays(path, weights)
    again = Opened(lambda dtype: rebuilt(graph, _open(graph, inputs), dtype), name, read)
    try:
        again.make("float64")
        return again, f"{version} {reason}"
    except Exception:  # as in _opened; some layers need to know the number of steps
        again = Opened(lambda dtype: rebuilt(graph, inputs, dtype), name, read)
    try:
        again.make("float64")
    except Exception as error:  # as in _opened
        raise InputError(f"{path}: {version} cannot even rebuild it: {_said(error)}") from error
    return again, f"{version} {reason}"


def _open(graph: Graph, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    """Return the inputs with as many steps as the file allows, any number included."""
    return tuple(
        replace(each, shape=(*each.shape[:1], *raw[1:2], *each.shape[2:]))
        for each, raw in zip(inputs, graph.shapes, strict=True)
    )


def _opened(path: Path, weights: Arrays, config: dict[str, Json] | None) -> Any:
    """Return the model as Keras opens it, or why it does not."""
    if path.is_dir() or tensorflow_js(path) is not None:
        return "opens no folders, and nothing of TensorFlow.js"
    with tempfile.TemporaryDirectory() as folder:
        known = _as_keras_wants_it(path, config is not None, Path(folder))
        try:
            if config is None:
                model = keras.models.load_model(known, compile=False)
            else:
                model = keras.models.model_from_json(json.dumps({**config, "compile_config": None}))
                model.load_weights(known)
            found = {name: tuple(v.shape) for name, v in variables_of(model).items()}
            _copy(model, "float64")
        except Exception as error:  # Keras lets through whatever its own code happens to raise
            return f"cannot open the file: {_said(error)}"
    if found != {name: array.shape for name, array in weights.items()}:
        return "cannot open the file: it names its weights otherwise"
    return model


def _as_keras_wants_it(path: Path, apart: bool, folder: Path) -> Path:
    """Link a file under a name that Keras takes, for it goes by the name, not by the content."""
    ending = ".weights.h5" if apart else ".keras" if zipfile.is_zipfile(path) else ".h5"
    known = folder / f"model{ending}"
    for shard in shards_of(path):
        (folder / shard).symlink_to((path.parent / shard).resolve())
        known = folder / f"{shard.rpartition('_')[0]}.weights.json"
    known.symlink_to(path.resolve())
    return known


def _said(error: Exception) -> str:
    return one_line(str(error).strip().split("\n")[0] or type(error).__name__, LONGEST)


def _copy(model: Any, dtype: str) -> Any:
    """Return the model in another precision, without state between batches and without noise.

    What this changes is named by ``limits``.
    """
    return type(model).from_config(adapted(model.get_config(), dtype))


def adapted(node: Any, dtype: str) -> Any:
    """Return a configuration of Keras' own making with another precision and a free batch size."""
    if isinstance(node, list | tuple):
        return type(node)(adapted(each, dtype) for each in node)
    if not isinstance(node, dict):
        return node
    if node.get("class_name") in ("DTypePolicy", "Policy"):
        return {**node, "config": {"name": dtype}}
    found = {key: adapted(value, dtype) for key, value in node.items()}
    if str(found.get("dtype")).startswith("float"):
        found["dtype"] = dtype
    if found.get("stateful"):
        found["stateful"] = False
    found |= {key: 0.0 for key in NOISE if isinstance(found.get(key), int | float)}
    for key in ("batch_shape", "batch_input_shape"):
        if found.get(key):
            found[key] = (None, *found[key][1:])
    return found


def variables_of(layer: Any, prefix: str = "") -> dict[str, Any]:
    """Return every variable of a model by the names of layers, and its own."""
    if hasattr(layer, "layers"):
        parts = {f"{getattr(each, 'file_name', each.name)}/": each for each in layer.layers}
    else:
        cells = getattr(getattr(layer, "cell", None), "cells", None)
        if cells is not None:
            parts = {f"cell_{at}/": cell for at, cell in enumerate(cells)}
            return {
                name: each
                for path, part in parts.items()
                for name, each in variables_of(part, prefix + path).items()
            }
        heads = {part: getattr(layer, name, None) for part, name in HEADS.items()}
        if heads["query"] is not None:
            return {
                f"{prefix}{part}/{each.name}": each
                for part, dense in heads.items()
                for each in (() if dense is None else dense.weights)
            }
        names = [name for name in INNER if isinstance(getattr(layer, name, None), keras.Layer)]
        names = [name for name in names if name != "layer" or "forward_layer" not in names]
        parts = {SHORT.get(name, f"{name}/"): getattr(layer, name) for name in names}
    if not parts:
        # what a Normalization counts is no number of the model
        floats = (each for each in layer.weights if "float" in str(each.dtype))
        return {prefix + each.name: each for each in floats}
    found: dict[str, Any] = {}
    for name, part in parts.items():
        found |= variables_of(part, prefix + name)
    return found
