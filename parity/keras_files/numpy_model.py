"""A Keras file's configuration, read once more for the NumPy witness, without the port's reading.

What is not understood is not followed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

WRAPPED = {"Bidirectional": ("forward_layer", "backward_layer"), "TimeDistributed": ("",)}
# Keras 1's words (keras-team/keras, 1.2.2)
_CLASSES = {"Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "CuDNNGRU": "GRU"}
_SETTINGS = {
    **{"inner_activation": "recurrent_activation", "border_mode": "padding", "bias": "use_bias"},
    **{"subsample_length": "strides", "subsample": "strides"},
}
_IGNORED = ("training", "name")  # words of a call


class NotFollowedError(Exception):
    """The witness does not know what a file says here."""


@dataclass(frozen=True)
class Written:
    """What wrote a file.

    Attributes:
        major: The generation of Keras.
        in_tensorflow: Whether it is the Keras inside TensorFlow.
        theano: Whether Theano computed, which turns the kernels of convolutions.
    """

    major: int
    in_tensorflow: bool
    theano: bool


@dataclass(frozen=True)
class Layer:
    """One layer: its name, class and settings in Keras' words, and those that it wraps."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    written: Written
    inner: tuple["Layer", ...] = ()

    @classmethod
    def of(cls, entry: Mapping[str, Any], written: Written) -> "Layer":
        """Return the layer of an entry of the configuration."""
        held, said = entry["config"], entry["class_name"]
        settings = {_SETTINGS.get(key, key): value for key, value in held.items()}
        if said == "CuDNNGRU":
            settings |= {"reset_after": True, "recurrent_activation": "sigmoid"}
        wrapped: list[Any] = [held["layer"]] if said in WRAPPED else []
        if said == "Bidirectional":
            wrapped += [held.get("backward_layer") or _turned(held["layer"])]
        inner = tuple(cls.of(each, written) for each in wrapped)
        name = held.get("name") or entry.get("name")
        return cls(str(name), _CLASSES.get(said, said), settings, written, inner)


def _turned(entry: Mapping[str, Any]) -> dict[str, Any]:
    config = entry["config"]
    return {**entry, "config": {**config, "go_backwards": not config.get("go_backwards", False)}}


class Tensor(NamedTuple):
    """Which output of which call of which layer."""

    layer: str
    call: int
    at: int


@dataclass(frozen=True)
class Call:
    """One use of a layer: on these tensors or numbers, with the mask that the call names."""

    layer: str
    index: int
    inputs: tuple[Tensor | float, ...]
    mask: Tensor | None


@dataclass(frozen=True)
class Model:
    """Layers by name, in the order of the file, and how they are called."""

    layers: Mapping[str, Layer]
    calls: tuple[Call, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def model_of(config: Mapping[str, Any], written: Written) -> Model:
    """Return the model that a configuration describes."""
    held = config["config"]
    entries = held if isinstance(held, list) else held["layers"]
    layers = {each.name: each for each in (Layer.of(entry, written) for entry in entries)}
    if config["class_name"] == "Sequential":
        real = [name for name, layer in layers.items() if layer.kind != "InputLayer"]
        places = [Tensor("", 0, 0), *(Tensor(name, 0, 0) for name in real)]
        calls = [Call(n, 0, (before,), None) for n, before in zip(real, places, strict=False)]
        return Model(layers, tuple(calls), (places[0],), (places[-1],))
    calls = [call for entry in entries for call in _calls(entry)]
    ends = (tuple(_tensors(held[key])) for key in ("input_layers", "output_layers"))
    return Model(layers, tuple(calls), *ends)


def _calls(entry: Mapping[str, Any]) -> Iterator[Call]:
    name = str(entry.get("name") or entry["config"]["name"])
    for index, node in enumerate(entry.get("inbound_nodes") or []):
        if isinstance(node, dict):  # Keras 3
            words, given = dict(node.get("kwargs") or {}), tuple(_arguments(node["args"]))
        else:
            node = [node] if node and isinstance(node[0], str) else node
            words = {key: value for each in node if len(each) > 3 for key, value in each[3].items()}
            given = tuple(_tensors(node))
        masks = [*_tensors(words.pop("mask", None))]
        given += tuple(_tensors(words.pop("initial_state", None)))
        if len(masks) > 1 or any(v is not None for k, v in words.items() if k not in _IGNORED):
            raise NotFollowedError(f"{name} is called with {', '.join(words)}")
        yield Call(name, index, given, masks[0] if masks else None)


def _arguments(value: Any) -> Iterator[Tensor | float]:
    """Yield tensors and numbers of a call in Keras 3."""
    if isinstance(value, list):
        for each in value:
            yield from _arguments(each)
    elif isinstance(value, dict):
        yield from _tensors(value)
    elif isinstance(value, int | float):
        yield float(value)


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors that something nested names, in either generation's way."""
    if isinstance(value, dict):
        held = value.get("config") or {}
        known = value.get("class_name") == "__keras_tensor__"
        yield from _tensors(held.get("keras_history") if known else [*value.values()])
    elif isinstance(value, list | tuple):
        if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
            yield Tensor(value[0], value[1], value[2])
        else:
            for each in value:
                yield from _tensors(each)
