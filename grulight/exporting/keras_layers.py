"""A checkpoint's network as Keras layers and the calls between them, before Keras is imported."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from grulight.errors import InputError
from grulight.exporting.inputs import Array, Input, described
from grulight.exporting.keras_settings import ACTIVATIONS, KEYS, PLAIN, WITH_AXIS
from grulight.exporting.subject import Subject, units_of
from grulight.heads import Head, LabelHead, ValueHead
from grulight.keras_files.layers.activations import activation_layer, activation_name
from grulight.keras_files.layers.layout import network_to_keras
from grulight.keras_files.layers.network import PREFIX
from grulight.keras_files.layers.wrappers import directions
from grulight.keras_files.plan.constants import as_array
from grulight.keras_files.plan.spec import Call, Graph, LayerSpec, Ref
from grulight.keras_files.reader.untrusted_text import quote
from grulight.model import GRUNet

LEAKY_SLOPE = 0.3  # of LeakyReLU where a file says none


@dataclass(frozen=True)
class Plan:
    """A Keras layer, operation or model to be made.

    Attributes:
        kind: Its class in ``keras.layers``, or that of an operation after `PREFIX`.
        settings: Its arguments.
        arrays: Its weights, in Keras' order.
        inner: The layers it wraps, by argument.
        model: What a model inside another is made of.
    """

    kind: str
    settings: Mapping[str, Any]
    arrays: tuple[Array, ...] = ()
    inner: Mapping[str, "Plan"] = field(default_factory=dict)
    model: "ModelPlan | None" = None


@dataclass(frozen=True)
class ModelPlan:
    """A Keras model to be made: its inputs, its layers by name, who calls whom, its outputs.

    Attributes:
        inputs: What it takes.
        starts: Where that enters the calls.
        layers: Its layers, by their names in the file.
        calls: The uses of them, each after those it depends on.
        outputs: Where its outputs leave.
    """

    inputs: tuple[Input, ...]
    starts: tuple[Ref, ...]
    layers: Mapping[str, Plan]
    calls: tuple[Call, ...]
    outputs: tuple[Ref, ...]


def plan_of(subject: Subject) -> ModelPlan:
    """Return the Keras model of a checkpoint's network.

    Raises:
        InputError: It is a ported model with a layer or a setting that current Keras lacks.
    """
    if subject.model is not None:
        network = subject.model.network
        return _model_plan(network.graph, network.to_keras(), subject.inputs)
    assert subject.classifier is not None
    assert isinstance(subject.classifier.network, GRUNet)
    plans = _plans(subject.classifier.network, subject.classifier.head)
    layers = {str(at): plan for at, plan in enumerate(plans)}
    calls, before = [], Ref("values", 0, 0)
    for name in layers:
        calls.append(Call(name, 0, (before,)))
        before = Ref(name, 0, 0)
    return ModelPlan(subject.inputs, (Ref("values", 0, 0),), layers, tuple(calls), (before,))


def _plans(network: GRUNet, head: Head) -> Iterator[Plan]:
    gru, rate = network.gru, network.dropout.p
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    held = network_to_keras(state)
    for number in range(gru.num_layers):
        arrays = tuple(a for name, a in held.items() if name.startswith(f"gru_{number}/"))
        settings: dict[str, object] = {
            "units": gru.hidden_size,
            "use_bias": gru.bias,
            "return_sequences": network.per_step or number < gru.num_layers - 1,
        }
        layer = Plan("GRU", settings, arrays)
        yield Plan("Bidirectional", {}, arrays, {"layer": layer}) if gru.bidirectional else layer
        if rate:
            yield Plan("Dropout", {"rate": rate})
    settings = {"units": head.size, "activation": _activation(head)}
    yield Plan("Dense", settings, (held["dense/kernel"], held["dense/bias"]))
    if (units := units_of(head)) is not None:
        mean, scale = units  # arrays, for of numbers Keras makes float32 first
        yield Plan("Rescaling", {"scale": scale, "offset": mean})


def _activation(head: Head) -> str:
    if isinstance(head, ValueHead):
        return "linear"
    return "sigmoid" if isinstance(head, LabelHead) or head.size == 1 else "softmax"


def _model_plan(
    graph: Graph, arrays: Mapping[str, Any], inputs: tuple[Input, ...] | None = None
) -> ModelPlan:
    for call in graph.calls:
        if call.training:
            raise InputError(
                f"layer {quote(call.layer)} is called as in training, which a Keras 3 model "
                "forgets when it predicts. Choose .onnx or .pt2."
            )
    layers = {name: _plan(spec, arrays.get(name, {})) for name, spec in graph.layers.items()}
    return ModelPlan(inputs or described(graph), graph.inputs, layers, graph.calls, graph.outputs)


def _plan(spec: LayerSpec, arrays: Mapping[str, Any]) -> Plan:
    if spec.graph is not None:
        held = _model_plan(spec.graph, arrays)
        return Plan("Functional", _name(spec), tuple(_leaves(arrays)), model=held)
    if spec.kind.startswith(PREFIX):
        return _operation(spec)
    if spec.kind not in KEYS:
        raise _unwritable(spec)
    settings = _settings(spec)
    inner = {}
    if spec.kind == "Bidirectional":
        pair = zip(("layer", "backward_layer"), directions(spec), strict=True)
        inner = {name: _plan(each, {}) for name, each in pair}
    elif spec.kind == "TimeDistributed":
        inner = {"layer": _plan(spec.inner["layer"], arrays)}
    return Plan(spec.kind, settings | _name(spec), tuple(_leaves(arrays)), inner)


def _name(spec: LayerSpec) -> dict[str, Any]:
    """Return the argument that names a layer; layers inside others name themselves."""
    return {} if "/" in spec.name else {"name": spec.name}


def _settings(spec: LayerSpec) -> dict[str, Any]:
    given = {key: as_array(spec.config[key]) for key in KEYS[spec.kind] if key in spec.config}
    settings = {n: each for n, each in given.items() if each is not None or n == "merge_mode"}
    for key in ACTIVATIONS.get(spec.kind, ()):
        settings[key] = activation_name(spec, key)
        if activation_layer(spec, key) is not None:
            raise spec.refuse(key, "the name of one; give the layer a place of its own")
        if settings[key] == "hard_sigmoid" and spec.version.major < 3:
            raise spec.refuse(key, "another one, since Keras 3 has no hard_sigmoid of this slope")
    if spec.kind == "GRU":
        settings["reset_after"] = spec.flag("reset_after")  # what its absence means has changed
    if spec.kind == "BatchNormalization":
        [settings["axis"]] = spec.integers("axis", -1)  # a list in Keras 2
    if spec.kind == "LeakyReLU":
        old = "alpha" in spec.config
        slope = spec.number("alpha" if old else "negative_slope", LEAKY_SLOPE)
        settings["negative_slope"] = slope
    if not spec.flag("trainable", True):
        settings["trainable"] = False
    return settings


def _operation(spec: LayerSpec) -> Plan:
    kind = spec.kind.removeprefix(PREFIX)
    if kind in PLAIN:
        return Plan(spec.kind, _name(spec))
    if kind == "GetItem":
        return Plan(spec.kind, {"index": spec.config["index"]} | _name(spec))
    if kind not in WITH_AXIS:
        raise _unwritable(spec)
    given = {key: spec.config.get(key) for key in WITH_AXIS[kind][1]}
    settings = {
        key: tuple(each) if isinstance(each, list) else each
        for key, each in given.items()
        if each is not None
    }
    return Plan(spec.kind, settings | _name(spec))


def _unwritable(spec: LayerSpec) -> InputError:
    return InputError(
        f"layer {quote(spec.name)} is a {quote(spec.kind)}; a .keras file is written of layers "
        "that Keras 3 has with the same meaning. Choose .onnx or .pt2."
    )


def _leaves(tree: Mapping[str, Any]) -> Iterator[Array]:
    for held in tree.values():
        if isinstance(held, Mapping):
            yield from _leaves(held)
        else:
            yield held
