"""A checkpoint's network as a chain of Keras layers, before Keras is imported."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from grulight.errors import InputError, listed
from grulight.exporting.verification import Array
from grulight.keras_files.layers.activations import activation_layer, activation_name
from grulight.keras_files.layers.layout import network_to_keras
from grulight.keras_files.layers.wrappers import directions
from grulight.keras_files.plan.spec import Call, LayerSpec, Ref
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.untrusted_text import quote
from grulight.model import GRUNet
from grulight.training.classifier import GRUClassifier

_GRU = ("units", "use_bias", "reset_after", "return_sequences", "go_backwards", "dropout")
_NORMALIZATION = ("axis", "epsilon", "center", "scale")

# The layers that are written, and their settings that are numbers, flags or words
KEYS: dict[str, tuple[str, ...]] = {
    "Activation": (),
    "BatchNormalization": (*_NORMALIZATION, "momentum"),
    "Bidirectional": ("merge_mode",),
    "Dense": ("units", "use_bias"),
    "Dropout": ("rate",),
    "GRU": (*_GRU, "recurrent_dropout", "zero_output_for_mask"),
    "LayerNormalization": _NORMALIZATION,
    "Masking": ("mask_value",),
}
ACTIVATIONS = {
    "Activation": ("activation",),
    "Dense": ("activation",),
    "GRU": ("activation", "recurrent_activation"),
}


@dataclass(frozen=True)
class Plan:
    """A Keras layer to be made.

    Attributes:
        kind: Its class in ``keras.layers``.
        settings: Its arguments.
        arrays: Its weights, in Keras' order.
        inner: The layers it wraps, by argument.
    """

    kind: str
    settings: Mapping[str, Any]
    arrays: tuple[Array, ...] = ()
    inner: Mapping[str, "Plan"] = field(default_factory=dict)

    def make(self, keras: ModuleType, dtype: str) -> Any:
        """Return the layer, without its weights."""
        inner = {name: plan.make(keras, dtype) for name, plan in self.inner.items()}
        return getattr(keras.layers, self.kind)(**self.settings, **inner, dtype=dtype)


def plans_of(classifier: GRUClassifier) -> list[Plan]:
    """Return the Keras layers of a classifier's network, in order.

    Raises:
        InputError: It is a ported model that is more than a chain of the layers in `KEYS`.
    """
    network = classifier.network
    return list(_ported_plans(network) if isinstance(network, PortedNetwork) else _plans(network))


def _plans(network: GRUNet) -> Iterator[Plan]:
    gru, rate = network.gru, network.dropout.p
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    held = network_to_keras(state)
    for number in range(gru.num_layers):
        arrays = tuple(a for name, a in held.items() if name.startswith(f"gru_{number}/"))
        settings: dict[str, object] = {
            "units": gru.hidden_size,
            "use_bias": gru.bias,
            "return_sequences": number < gru.num_layers - 1,
        }
        layer = Plan("GRU", settings, arrays)
        yield Plan("Bidirectional", {}, arrays, {"layer": layer}) if gru.bidirectional else layer
        if rate:
            yield Plan("Dropout", {"rate": rate})
    units = network.head.out_features
    settings = {"units": units, "activation": "sigmoid" if units == 1 else "softmax"}
    yield Plan("Dense", settings, (held["dense/kernel"], held["dense/bias"]))


def _ported_plans(network: PortedNetwork) -> Iterator[Plan]:
    graph, arrays = network.model.network.graph, network.model.keras_arrays()
    before = graph.inputs[0]
    for call in graph.calls:
        if call != Call(call.layer, 0, (before,)):
            raise InputError(
                f"layer {quote(call.layer)} is not called with the layer before it alone; only "
                "models whose layers follow one another are written as .keras. Choose .onnx."
            )
        before = Ref(call.layer, 0, 0)
        yield _ported_plan(graph.layers[call.layer], tuple(_leaves(arrays.get(call.layer, {}))))


def _ported_plan(spec: LayerSpec, arrays: tuple[Array, ...]) -> Plan:
    if spec.kind not in KEYS:
        raise InputError(
            f"layer {quote(spec.name)} is a {quote(spec.kind)}; a .keras file is written of "
            f"{listed([*KEYS])}. Choose .onnx or .pt2."
        )
    settings = {key: spec.config[key] for key in KEYS[spec.kind] if key in spec.config}
    for key in ACTIVATIONS.get(spec.kind, ()):
        settings[key] = activation_name(spec, key)
        if activation_layer(spec, key) is not None:
            raise spec.refuse(key, "the name of one; give the layer a place of its own")
        if settings[key] == "hard_sigmoid" and spec.version.major < 3:
            raise spec.refuse(key, "another one, since Keras 3 has no hard_sigmoid of this slope")
    if spec.kind == "GRU":
        settings["reset_after"] = spec.flag("reset_after")  # what its absence means has changed
    inner = {}
    if spec.kind == "Bidirectional":
        pair = zip(("layer", "backward_layer"), directions(spec), strict=True)
        inner = {name: _ported_plan(each, ()) for name, each in pair}
    if "/" not in spec.name:  # as those of layers inside others have
        settings["name"] = spec.name
    return Plan(spec.kind, settings, arrays, inner)


def _leaves(tree: Mapping[str, Any]) -> Iterator[Array]:
    for held in tree.values():
        if isinstance(held, Mapping):
            yield from _leaves(held)
        else:
            yield held
