"""A model rebuilt in current Keras from the graph that grulight read, call by call.

Only constructors of Keras' own layers are called, with settings that the reader has checked: no
configuration is deserialised and no name is resolved. Where a layer meant something else in the
Keras that wrote the file, that meaning is restored.
"""

from collections.abc import Sequence
from typing import Any

from grulight.keras_files.constraints import read_constraint
from grulight.keras_files.layers.activations import activation_layer, activation_name
from grulight.keras_files.layers.base import KERAS_1_PARTS
from grulight.keras_files.layers.registry import SPATIAL
from grulight.keras_files.penalties import read_regularizer
from grulight.keras_files.plan.constants import as_array
from grulight.keras_files.plan.ordering import by_depth
from grulight.keras_files.plan.spec import Call, Graph, LayerSpec, Ref
from parity.keras_files.inputs import Input
from parity.keras_files.keras_old_meanings import (
    OLD_LAYERS,
    OLD_MERGES,
    call_in_turn,
    mask_of,
    merged_as_before,
    old_hard_sigmoid,
)
from parity.keras_files.keras_on_a_cpu import on_a_cpu
from parity.keras_files.keras_operations import operation
from parity.keras_files.layer_settings import SETTINGS
from parity.keras_files.limits import NOISE
from parity.keras_files.opening_rules import UNMASKED, not_on_a_cpu
from parity.sides.keras_setup import keras, layers, ops

RECURRENT = ("GRU", "LSTM", "SimpleRNN", "RNN", "Bidirectional")
GATED = ("GRU", "LSTM")
ACTIVATED = (
    *("Activation", "Dense", "GRU", "LSTM", "SimpleRNN"),
    *(kind for kind in SPATIAL if "Conv" in kind),
)


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
    for call in by_depth(graph.calls):
        spec = graph.layers[call.layer]
        outputs = _called(spec, made[call.layer], call, seen)
        for at, output in enumerate(keras.tree.flatten(outputs)):
            seen[Ref(call.layer, call.index, at)] = output
    ends = ([seen[ref] for ref in refs] for refs in (graph.inputs, graph.outputs))
    model = keras.Model(*(each if len(each) > 1 else each[0] for each in ends))
    if any(spec.version.major < 3 for spec in graph.layers.values()):
        call_in_turn(model, seen.values())
    return model


def _layer(spec: LayerSpec, dtype: str) -> Any:
    if spec.graph is not None:
        shapes = zip(spec.graph.inputs, spec.graph.shapes, strict=True)
        inputs = [Input(ref.layer, shape, "float") for ref, shape in shapes]
        return rebuilt(spec.graph, inputs, dtype)
    if spec.kind.startswith("operation "):
        return operation(spec)
    if spec.kind == "TimeDistributed":
        old = spec.version.major < 3
        kind = OLD_LAYERS["TimeDistributed"] if old else layers.TimeDistributed
        return kind(_layer(spec.inner["layer"], dtype), dtype=dtype)
    if spec.kind == "Bidirectional":
        return _bidirectional(spec, dtype)
    if spec.kind == "RNN":
        return _stacked(spec, dtype)
    if spec.kind == "ThresholdedReLU":  # which Keras 3 no longer has
        return layers.ReLU(threshold=spec.number("theta", 1.0), dtype=dtype)
    given = {key: as_array(spec.config.get(key)) for key in SETTINGS[spec.kind]}
    settings = {key: value for key, value in given.items() if value is not None}
    settings |= {key: 0.0 for key in NOISE if key in settings}
    settings["trainable"] = spec.flag("trainable", True)
    settings |= _terms(spec)
    if spec.kind in ACTIVATED:
        settings["activation"] = _activation(spec, "activation", dtype)
    if spec.kind in GATED:
        settings["recurrent_activation"] = _activation(spec, "recurrent_activation", dtype)
        settings["use_cudnn"] = False
    if spec.kind == "BatchNormalization":
        [settings["axis"]] = spec.integers("axis", -1)  # a list in Keras 2
    if spec.kind == "Normalization":
        settings["axis"] = spec.config.get("axis", -1)  # null is a setting of its own
    if spec.kind == "LeakyReLU":
        old = "alpha" in spec.config
        settings["negative_slope"] = spec.number("alpha" if old else "negative_slope", 0.3)
    kind = on_a_cpu(spec, settings) if not_on_a_cpu(spec) else getattr(layers, spec.kind)
    if spec.version.major < 3:
        kind = OLD_LAYERS.get(spec.kind, kind)
    return kind(**settings, dtype=dtype)


def _terms(spec: LayerSpec) -> dict[str, Any]:
    """Return the regularisers and constraints that training takes over."""
    found = {}
    for key, value in spec.config.items():
        name = KERAS_1_PARTS.get(key[:2], key[:2]) + key[2:]
        if name.endswith("_regularizer") and (factors := read_regularizer(value)):
            found[name] = keras.regularizers.L1L2(*factors)
        if name.endswith("_constraint") and (rule := read_constraint(value)):
            norm = {"axis": [*rule.axes] or None} if rule.kind != "NonNeg" else {}
            found[name] = getattr(keras.constraints, rule.kind)(**rule.settings, **norm)
    return found


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


def _activation(spec: LayerSpec, key: str, dtype: str) -> Any:
    if (layer := activation_layer(spec, key)) is not None:
        return _layer(layer, dtype)
    name = activation_name(spec, key)
    if name == "hard_sigmoid" and spec.version.major < 3:
        return old_hard_sigmoid
    return getattr(keras.activations, name)


def _called(spec: LayerSpec, layer: Any, call: Call, seen: dict[Ref, Any]) -> Any:
    """Call a layer as the file does."""
    given = [seen[each] if isinstance(each, Ref) else each for each in call.inputs]
    masks = [None if mask is None else ops.cast(seen[mask], "bool") for mask in call.masks]
    if spec.kind.startswith("operation "):
        return layer(*given)
    if spec.kind in (*OLD_MERGES, "Concatenate") and spec.version.major < 3:
        return merged_as_before(spec, layer, given)
    words: dict[str, Any] = {}
    if any(mask is not None for mask in masks):
        words["mask"] = masks[0] if len(given) == 1 or spec.kind in RECURRENT else masks
    if spec.flag("causal") or spec.flag("use_causal_mask"):
        words["use_causal_mask"] = True
    if spec.flag("return_attention_scores"):
        words["return_attention_scores"] = True
    if call.training is not None:
        words["training"] = call.training
    if spec.kind in RECURRENT and len(given) > 1:
        words["initial_state"] = given[1] if len(given) == 2 else given[1:]
        if spec.version.major < 3 and "mask" not in words:
            words["mask"] = mask_of(given[0])  # Keras 3 forgets it beside an initial state
        given = given[:1]
    if spec.kind == "MultiHeadAttention":
        named = zip(("value", "key", "attention_mask"), given[1:], strict=False)
        held = zip(("query_mask", "value_mask", "key_mask"), words.pop("mask", ()), strict=False)
        words |= {**dict(named), **dict(held)}
        given = given[:1]
    output = layer(given[0] if len(given) == 1 else given, **words)
    dropped = spec.kind in UNMASKED and spec.version.major < 3
    return ops.add(output, 0) if dropped else output  # a bare operation hands on no mask
