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

from grulight.keras_files.layers.activations import activation_name
from grulight.keras_files.plan.spec import Call, Graph, LayerSpec, Ref
from parity.keras_files.allowed import UNMASKED
from parity.keras_files.inputs import Input
from parity.keras_files.keras_operations import operation
from parity.keras_files.limits import NOISE

# Settings that a constructor takes as they are in the file, by class.
SETTINGS: dict[str, tuple[str, ...]] = {
    "Activation": (),
    "ActivityRegularization": (),
    "Add": (),
    "AdditiveAttention": ("use_scale", "dropout"),
    "AlphaDropout": ("rate",),
    "Attention": ("use_scale", "score_mode", "dropout"),
    "Average": (),
    "AveragePooling1D": ("pool_size", "strides", "padding"),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Conv1D": ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"),
    "Cropping1D": ("cropping",),
    "Dense": ("units", "use_bias"),
    "Dot": ("axes", "normalize"),
    "Dropout": ("rate",),
    "ELU": ("alpha",),
    "Embedding": ("input_dim", "output_dim", "mask_zero"),
    "Flatten": (),
    "GRU": (
        *("units", "use_bias", "return_sequences", "return_state", "go_backwards"),
        *("reset_after", "zero_output_for_mask"),
    ),
    "GaussianDropout": ("rate",),
    "GaussianNoise": ("stddev",),
    "GlobalAveragePooling1D": ("keepdims",),
    "GlobalMaxPooling1D": ("keepdims",),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "LeakyReLU": (),
    "Masking": ("mask_value",),
    "MaxPooling1D": ("pool_size", "strides", "padding"),
    "Maximum": (),
    "Minimum": (),
    "Multiply": (),
    "Normalization": ("axis", "mean", "variance", "invert"),
    "PReLU": ("shared_axes",),
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "RepeatVector": ("n",),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "Softmax": ("axis",),
    "SpatialDropout1D": ("rate",),
    "Subtract": (),
    "UnitNormalization": ("axis",),
    "UpSampling1D": ("size",),
    "ZeroPadding1D": ("padding",),
}
SETTINGS["Conv1D"] += ("use_bias",)
SETTINGS["DepthwiseConv1D"] = (
    *("kernel_size", "strides", "padding", "depth_multiplier", "dilation_rate", "use_bias"),
)
SETTINGS["SeparableConv1D"] = ("filters", *SETTINGS["DepthwiseConv1D"])
SETTINGS["LSTM"] = SETTINGS["SimpleRNN"] = SETTINGS["RNN"] = (
    *("units", "use_bias", "return_sequences", "return_state", "go_backwards"),
    "zero_output_for_mask",
)
RECURRENT = ("GRU", "LSTM", "SimpleRNN", "RNN", "Bidirectional")
GATED = ("GRU", "LSTM")
ACTIVATED = (
    *("Activation", "Conv1D", "Dense", "DepthwiseConv1D", "SeparableConv1D"),
    *("GRU", "LSTM", "SimpleRNN"),
)
OLD_MERGES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "Add": lambda values: reduce(operator.add, values),
    "Average": lambda values: reduce(operator.add, values) / len(values),
    "Maximum": lambda values: reduce(ops.maximum, values),
    "Minimum": lambda values: reduce(ops.minimum, values),
    "Multiply": lambda values: reduce(operator.mul, values),
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
        return operation(spec)
    if spec.kind == "TimeDistributed":
        return layers.TimeDistributed(_layer(spec.inner["layer"], dtype), dtype=dtype)
    if spec.kind == "Bidirectional":
        return _bidirectional(spec, dtype)
    if spec.kind == "RNN":
        return _stacked(spec, dtype)
    if spec.kind == "ThresholdedReLU":  # which Keras 3 no longer has
        return layers.ReLU(threshold=spec.number("theta", 1.0), dtype=dtype)
    given = {key: spec.config.get(key) for key in SETTINGS[spec.kind]}
    settings = {key: value for key, value in given.items() if value is not None}
    settings |= {key: 0.0 for key in NOISE if key in settings}
    settings["trainable"] = spec.flag("trainable", True)
    if spec.kind in ACTIVATED:
        settings["activation"] = _activation(spec, "activation")
    if spec.kind in GATED:
        settings["recurrent_activation"] = _activation(spec, "recurrent_activation")
        settings["use_cudnn"] = False
    if spec.kind == "BatchNormalization":
        [settings["axis"]] = spec.integers("axis", -1)  # a list in Keras 2
    if spec.kind == "Normalization":
        settings["axis"] = spec.config.get("axis", -1)  # null is a setting of its own
    if spec.kind == "LeakyReLU":
        old = "alpha" in spec.config
        settings["negative_slope"] = spec.number("alpha" if old else "negative_slope", 0.3)
    kind = getattr(layers, spec.kind)
    if spec.kind == "BatchNormalization" and spec.version.major < 3:
        kind = OldBatchNormalization
    return kind(**settings, dtype=dtype)


class OldBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]  # no types there
    """One that divides by the number of steps not masked, as Keras 2; Keras 3 adds 1e-7."""

    def _moments(self, inputs: Any, mask: Any) -> Any:
        if mask is None:
            return super()._moments(inputs, mask)
        weights = ops.broadcast_to(
            ops.cast(ops.expand_dims(mask, -1), inputs.dtype), ops.shape(inputs)
        )
        count = ops.sum(weights, self._reduction_axes, keepdims=True)
        mean = ops.sum(weights * inputs, self._reduction_axes, keepdims=True) / count
        variance = ops.sum(weights * ops.square(inputs - mean), self._reduction_axes) / ops.squeeze(
            count, self._reduction_axes
        )
        return ops.squeeze(mean, self._reduction_axes), variance


def _stacked(spec: LayerSpec, dtype: str) -> Any:
    """Return an RNN of several cells, each as the layer that it is the cell of would have it."""
    cells = [_layer(cell, dtype).cell for cell in spec.inner.values()]
    given = {key: spec.config.get(key) for key in SETTINGS["RNN"] if key != "units"}
    settings = {key: value for key, value in given.items() if value is not None}
    settings.pop("use_bias", None)
    stack = layers.StackedRNNCells(cells, dtype=dtype)
    return layers.RNN(stack, **settings, dtype=dtype)


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


def _called(spec: LayerSpec, layer: Any, call: Call, seen: dict[Ref, Any]) -> Any:
    """Call a layer as the file does."""
    given = [seen[each] if isinstance(each, Ref) else each for each in call.inputs]
    masks = [None if mask is None else ops.cast(seen[mask], "bool") for mask in call.masks]
    if spec.kind.startswith("operation "):
        return layer(*given)
    if spec.kind in (*OLD_MERGES, "Concatenate") and spec.version.major < 3:
        return _merged_as_before(spec, layer, given)
    words: dict[str, Any] = {}
    if any(mask is not None for mask in masks):
        words["mask"] = masks[0] if len(given) == 1 or spec.kind in RECURRENT else masks
    if spec.flag("causal"):
        words["use_causal_mask"] = True
    if call.training is not None:
        words["training"] = call.training
    if spec.kind in RECURRENT and len(given) > 1:
        words["initial_state"] = given[1] if len(given) == 2 else given[1:]
        if spec.version.major < 3 and "mask" not in words:
            words["mask"] = _mask(given[0])  # Keras 3 forgets it beside an initial state
        given = given[:1]
    output = layer(given[0] if len(given) == 1 else given, **words)
    dropped = spec.kind in UNMASKED and spec.version.major < 3
    return ops.add(output, 0) if dropped else output  # a bare operation hands on no mask


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
