"""A model rebuilt in current Keras from the graph that grulight read, call by call.

Only constructors of Keras' own layers are called, with settings that the reader has checked: no
configuration is deserialised and no name is resolved. Where a layer meant something else in the
Keras that wrote the file, that meaning is restored.
"""

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import keras
from keras import layers, ops

from grulight.keras_files.activations import activation_name
from grulight.keras_files.spec import Call, Graph, LayerSpec, Ref
from parity.file_inputs import Input

# Settings that a constructor takes as they are in the file, by class.
SETTINGS: dict[str, tuple[str, ...]] = {
    "Activation": (),
    "Add": (),
    "Average": (),
    "AveragePooling1D": ("pool_size", "strides", "padding"),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Conv1D": ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"),
    "Dense": ("units", "use_bias"),
    "Dropout": ("rate",),
    "ELU": ("alpha",),
    "Embedding": ("input_dim", "output_dim", "mask_zero"),
    "Flatten": (),
    "GRU": (
        *("units", "use_bias", "return_sequences", "return_state", "go_backwards"),
        *("reset_after", "zero_output_for_mask"),
    ),
    "GlobalAveragePooling1D": ("keepdims",),
    "GlobalMaxPooling1D": ("keepdims",),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "LeakyReLU": (),
    "Masking": ("mask_value",),
    "MaxPooling1D": ("pool_size", "strides", "padding"),
    "Multiply": (),
    "PReLU": ("shared_axes",),
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "RepeatVector": ("n",),
    "Reshape": ("target_shape",),
    "Softmax": ("axis",),
    "SpatialDropout1D": ("rate",),
    "Subtract": (),
}
SETTINGS["Conv1D"] += ("use_bias",)
ACTIVATED = ("Activation", "Conv1D", "Dense", "GRU")
OLD_MERGES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "Add": lambda values: reduce(operator.add, values),
    "Average": lambda values: reduce(operator.add, values) / len(values),
    "Multiply": lambda values: reduce(operator.mul, values),
}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "NotEqual": ops.not_equal,
    "Equal": ops.equal,
    "LogicalOr": ops.logical_or,
    "LogicalAnd": ops.logical_and,
    "Add": ops.add,
    "Subtract": ops.subtract,
    "Multiply": ops.multiply,
    "ZerosLike": lambda x: ops.zeros_like(x, dtype="bool"),
    "OnesLike": lambda x: ops.ones_like(x, dtype="bool"),
}


def rebuilt(graph: Graph, inputs: Sequence[Input], dtype: str) -> Any:
    """Return the model in current Keras, with fresh weights.

    Args:
        graph: The model.
        inputs: Its inputs.
        dtype: Precision of the layers.
    """
    seen: dict[Ref, Any] = {}
    for ref, each in zip(graph.inputs, inputs, strict=True):
        kinds = {"float": dtype, "ids": "int32", "mask": "bool"}
        seen[ref] = keras.Input(each.shape[1:], dtype=kinds[each.kind])
    made = {name: _layer(spec, dtype) for name, spec in graph.layers.items()}
    for name, layer in made.items():
        if isinstance(layer, keras.Layer):
            layer.file_name = name  # which may be one that Keras 3 does not allow
    for call in graph.calls:
        spec = graph.layers[call.layer]
        outputs = _called(spec, made[call.layer], call, seen)
        for at, output in enumerate(keras.tree.flatten(outputs)):
            seen[Ref(call.layer, call.index, at)] = output
    ends = ([seen[ref] for ref in refs] for refs in (graph.inputs, graph.outputs))
    return keras.Model(*(each if len(each) > 1 else each[0] for each in ends))


def _layer(spec: LayerSpec, dtype: str) -> Any:
    if spec.graph is not None:
        shapes = zip(spec.graph.inputs, spec.graph.shapes, strict=True)
        inputs = [Input(ref.layer, shape, "float") for ref, shape in shapes]
        return rebuilt(spec.graph, inputs, dtype)
    if spec.kind.startswith("operation "):
        return _operation(spec)
    if spec.kind == "TimeDistributed":
        return layers.TimeDistributed(_layer(spec.inner["layer"], dtype), dtype=dtype)
    if spec.kind == "Bidirectional":
        return _bidirectional(spec, dtype)
    given = {key: spec.config.get(key) for key in SETTINGS[spec.kind]}
    settings = {key: value for key, value in given.items() if value is not None}
    if spec.kind in ACTIVATED:
        settings["activation"] = _activation(spec, "activation")
    if spec.kind == "GRU":
        settings["recurrent_activation"] = _activation(spec, "recurrent_activation")
        settings["use_cudnn"] = False
    if spec.kind == "LeakyReLU":
        old = "alpha" in spec.config
        settings["negative_slope"] = spec.number("alpha" if old else "negative_slope", 0.3)
    return getattr(layers, spec.kind)(**settings, dtype=dtype)


def _bidirectional(spec: LayerSpec, dtype: str) -> Any:
    inner = {key: _layer(each, dtype) for key, each in spec.inner.items()}
    mode = spec.config.get("merge_mode", "concat")
    both = layers.Bidirectional(**inner, merge_mode=mode, dtype=dtype)
    if not spec.version.tensorflow:  # Keras before 2.4 repeats the last output at masked steps
        both.forward_layer.zero_output_for_mask = False
        both.backward_layer.zero_output_for_mask = False
    return both


def _activation(spec: LayerSpec, key: str) -> Any:
    name = activation_name(spec, key)
    if name == "hard_sigmoid" and spec.version.major < 3:
        return old_hard_sigmoid
    return getattr(keras.activations, name)


def old_hard_sigmoid(x: Any) -> Any:
    """Return clip(0.2 x + 0.5, 0, 1): tf-keras, src/backend.py, hard_sigmoid."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _operation(spec: LayerSpec) -> Callable[..., Any]:
    kind = spec.kind.removeprefix("operation ")
    axis = spec.config.get("axis", -1)
    if kind in ("Any", "All"):
        function = ops.any if kind == "Any" else ops.all
        return lambda x: function(x, axis=axis, keepdims=spec.flag("keepdims"))
    if kind == "ExpandDims":
        return lambda x: ops.expand_dims(x, axis)
    if kind == "Concatenate":
        return lambda *values: ops.concatenate(values, axis)
    return OPERATIONS[kind]


def _called(spec: LayerSpec, layer: Any, call: Call, seen: dict[Ref, Any]) -> Any:
    """Call a layer as the file does."""
    given = [seen[each] if isinstance(each, Ref) else each for each in call.inputs]
    masks = [None if mask is None else ops.cast(seen[mask], "bool") for mask in call.masks]
    if spec.kind.startswith("operation "):
        return layer(*given)
    if spec.kind in (*OLD_MERGES, "Concatenate") and spec.version.major < 3:
        return _merged_as_before(spec, layer, given)
    words: dict[str, Any] = {"mask": masks[0]} if masks and masks[0] is not None else {}
    if spec.kind in ("GRU", "Bidirectional") and len(given) > 1:
        words["initial_state"] = given[1] if len(given) == 2 else given[1:]
        if spec.version.major < 3 and "mask" not in words:
            words["mask"] = _mask(given[0])  # Keras 3 forgets it beside an initial state
        given = given[:1]
    return layer(given[0] if len(given) == 1 else given, **words)


def _merged_as_before(spec: LayerSpec, layer: Any, values: list[Any]) -> Any:
    """Merge as Keras 2 does: masked steps are merged like others, and one mask is enough."""
    masks = [_mask(each) for each in values]
    plain = [ops.add(each, 0) for each in values]  # without their masks
    if spec.kind == "Concatenate":
        merged = layer(plain)
        whole = [
            ops.ones_like(x, dtype="bool")
            if m is None
            else ops.broadcast_to(ops.expand_dims(m, -1), ops.shape(x))
            for x, m in zip(values, masks, strict=True)
        ]
        mask = ops.all(ops.concatenate(whole, spec.integer("axis", -1, least=-16)), axis=-1)
    else:
        merged = OLD_MERGES[spec.kind](plain)
        mask = reduce(ops.logical_and, [each for each in masks if each is not None] or [None])
    if any(each is not None for each in masks):
        merged._keras_mask = mask
    return merged


def _mask(tensor: Any) -> Any:
    return getattr(tensor, "_keras_mask", None)
