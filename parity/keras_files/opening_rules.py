"""When Keras itself may open a file for us, and when what it opens would be another model."""

import re
from collections.abc import Iterator
from typing import Any

from grulight.keras_files.layers.activations import activation_name
from grulight.keras_files.layers.network import RECURRENT
from grulight.keras_files.layers.operations import FUNCTIONS
from grulight.keras_files.layers.registry import KINDS
from grulight.keras_files.plan.constants import WRAPPED
from grulight.keras_files.plan.spec import Graph, LayerSpec
from grulight.keras_files.reader.untrusted_text import Json, quote

SCOPE = re.compile(r"[A-Za-z0-9_.\\/>-]*")  # tf.Graph.name_scope
UNMASKED = ("Normalization", "Rescaling")  # Keras 2 drops masks there
VOLUMES = ("AveragePooling3D", "MaxPooling3D")
CONVOLUTION = re.compile(r"Conv[123]D(Transpose)?")
MASKING = ("Masking", "Embedding")
MERGES = ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply")
# What configurations of the layers that can be ported are made of; Keras looks each name up.
NAMES = {
    *(kind for kind in KINDS if " " not in kind),
    *FUNCTIONS,
    *("InputLayer", "Model", "GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"),
    *("DTypePolicy", "__keras_tensor__", "__tuple__", "__slice__", "__ellipsis__"),
    *WRAPPED,
    *("Zeros", "Ones", "Constant", "Identity", "Orthogonal", "VarianceScaling"),
    *("IdentityInitializer", "OrthogonalInitializer"),  # as Keras 3.0 to 3.6 named them
    *("GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal"),
    *("RandomUniform", "RandomNormal", "TruncatedNormal"),
    *("L1", "L2", "L1L2", "OrthogonalRegularizer"),
    *("MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"),
}
# The types of arrays in a file; others can be as large as their names say.
TYPES = ("bool", "int8", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64")
MODULES = (
    *("keras", "keras.layers", "keras.models", "keras.initializers", "keras.regularizers"),
    *("keras.constraints", "keras.dtype_policies", "builtins"),
    *("keras.src.models.functional", "keras.src.models.sequential"),
)


def untrusted(config: dict[str, Json]) -> str | None:
    """Return why Keras does not get to see a file, if so.

    Keras resolves every name in a file, and has been led to run code by names that a layer's
    settings hide (KERAS_FACTS section 3). It opens files for us that hold only known names.
    """
    seen = {key: value for key, value in config.items() if key != "compile_config"}
    for entry in _objects(seen):
        name, module = entry["class_name"], entry.get("module")
        operation = str(module).startswith("keras.src.ops") and name in FUNCTIONS
        held = entry.get("config")
        if name in WRAPPED and not (isinstance(held, dict) and held.get("dtype") in TYPES):
            return "does not get to open the file, because of the type of an array in it"
        known = name in NAMES and (module is None or module in MODULES or operation)
        if not known or entry.get("registered_name") not in (None, "", name):
            return f"does not get to open the file, because of {quote(module)} {quote(name)} in it"
    return None


def _objects(config: Json) -> Iterator[dict[str, Any]]:
    stack = [config]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "class_name" in node:
                yield node
            stack += node.values()
        elif isinstance(node, list):
            stack += node


def unscoped(graph: Graph) -> str | None:
    """Return which layer has a name that TensorFlow takes for no scope of its own, if any."""
    for name in (*graph.input_names, *graph.layers):
        if not SCOPE.fullmatch(name):
            return f"cannot name a layer {quote(name)} in TensorFlow"
    nested = (unscoped(spec.graph) for spec in graph.layers.values() if spec.graph is not None)
    return next((reason for reason in nested if reason), None)


def uncomputed(graph: Graph) -> str | None:
    """Return which layer TensorFlow does not compute on a CPU as it stands, if any."""
    stack = [*graph.layers.values()]
    while stack:
        spec = stack.pop()
        if not_on_a_cpu(spec):
            return f"cannot compute layer {quote(spec.name)} ({spec.kind}) in float64 on a CPU"
        stack += [*spec.inner.values(), *(spec.graph.layers.values() if spec.graph else ())]
    return None


def not_on_a_cpu(spec: LayerSpec) -> bool:
    """Return whether TensorFlow does not compute a layer in float64 on a CPU as it stands."""
    first = spec.config.get("data_format") == "channels_first"
    return spec.kind in VOLUMES or (bool(CONVOLUTION.fullmatch(spec.kind)) and first)


def changed_meanings(graph: Graph, masked: bool = False) -> str | None:
    """Return what an old file says that means something else in Keras 3, if anything.

    Args:
        graph: The model.
        masked: Whether masks may reach it from outside.
    """
    called = dict.fromkeys(
        (call.layer, len(call.inputs) > 1) for call in graph.calls if call.layer in graph.layers
    )
    masked = masked or any(spec.kind in MASKING for spec in graph.layers.values())
    masked = masked or any(call.masks for call in graph.calls)
    for name, several in called:
        spec = graph.layers[name]
        if spec.version.major < 3 and (word := _changed(spec, several, masked)):
            return f"means something else by {word} than Keras {spec.version.text}, which wrote it"
    return None


def _changed(spec: LayerSpec, several: bool, masked: bool) -> str | None:
    if spec.graph is not None:
        nested = changed_meanings(spec.graph, masked)
        return None if nested is None else "parts of a nested model"
    for inner in spec.inner.values():
        if word := _changed(inner, several, masked):
            return word
    for key in ("activation", "recurrent_activation"):
        if key in spec.config and activation_name(spec, key) == "hard_sigmoid":
            return "hard_sigmoid"
    if masked and spec.kind in (*UNMASKED, "BatchNormalization"):
        return f"the mask of {spec.kind}"
    if spec.kind in MERGES:
        return f"the mask of {spec.kind}"
    if spec.kind == "Bidirectional" and not spec.version.tensorflow:
        return "masked steps of Bidirectional"
    if spec.kind == "MultiHeadAttention":
        return "the scale and the masks of MultiHeadAttention"
    if spec.kind in RECURRENT and several:
        return f"the mask of a {spec.kind} that is given its state"
    return None
