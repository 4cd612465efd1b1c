"""A Keras configuration of any generation as a graph: which layers there are and who calls whom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from grulight.errors import InputError
from grulight.keras_files.dialect import KINDS, translate
from grulight.keras_files.inputs import first_shape, input_shape
from grulight.keras_files.operations import FUNCTIONS
from grulight.keras_files.ordering import count_from_zero, ordered, refs
from grulight.keras_files.plain import Json, quote
from grulight.keras_files.spec import Call, Graph, LayerSpec, Ref, Shape
from grulight.keras_files.tf_operations import MODULE, as_operation
from grulight.keras_files.versions import KerasVersion
from grulight.keras_files.wiring import calls_of, loose_calls_of, refs_of

MODELS = ("Sequential", "Functional")
OPERATION_NAMES = tuple(FUNCTIONS)  # those that can be ported
CELLS = {"GRUCell": "GRU", "LSTMCell": "LSTM", "SimpleRNNCell": "SimpleRNN"}
MAX_CALLS = 5000  # of all nested models together
MAX_LAYERS = 2 * MAX_CALLS  # with those that are never called
MAX_NESTING = 5

Entry = Mapping[str, Any]
Entries = dict[str, Entry]


@dataclass
class Progress:
    """How far the reading of a model has come.

    Attributes:
        layers: How many layers have been read, those inside others included.
        models: The models inside it that have been read, by the identity of their entry.
    """

    layers: int = 0
    models: dict[int, Graph] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """How a configuration is read.

    Attributes:
        version: The Keras that wrote it.
        up_to: The layer to end the model at: after it, or before it where it cannot be ported.
        portable: Whether a layer can be ported.
        nesting: How many models this one lies in.
        progress: How far the reading of the whole has come.
    """

    version: KerasVersion
    up_to: str | None = None
    portable: Callable[[LayerSpec], bool] = lambda spec: True
    nesting: int = 0
    progress: Progress = field(default_factory=Progress)

    def inside(self) -> "Reading":
        """Return how a model inside this one is read."""
        return replace(self, up_to=None, nesting=self.nesting + 1)


@dataclass(frozen=True)
class Wiring:
    """The calls of a model, and where it begins and ends."""

    calls: list[Call]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    shapes: tuple[Shape, ...]


def parse_model(entry: Json, reading: Reading) -> Graph:
    """Read a model: a Sequential (its layers a list, or in a dictionary) or a Functional.

    Raises:
        InputError: It is another class (which carries code), or is not what Keras writes.
    """
    kind = entry.get("class_name") if isinstance(entry, dict) else None
    kind = KINDS.get(str(kind), kind)
    if kind not in MODELS:
        raise InputError(
            f"the model is a {quote(kind)}, expected Sequential or Functional: a class of "
            "somebody's own is code, which a Keras file does not hold. Rebuild it from layers."
        )
    if reading.nesting > MAX_NESTING:
        raise InputError(f"models are nested deeper than {MAX_NESTING} levels. Refused.")
    config = entry.get("config")
    if isinstance(config, list):
        config = {"layers": config}
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise InputError(f"the {kind} model lists no layers. Expected what Keras writes.")
    if len(config["layers"]) > MAX_LAYERS:
        raise _too_many()
    entries = _by_name(config["layers"])
    if kind == "Sequential":
        wiring = _sequential(config, entries, reading)
    else:
        wiring = _functional(config, entries, reading)
    return _graph(entries, wiring, reading)


def _too_many() -> InputError:
    return InputError(f"the model has more than {MAX_LAYERS} layers. Refused.")


def _by_name(layers: list[Json]) -> Entries:
    entries: Entries = {}
    for at, entry in enumerate(layers):
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
            raise InputError(f"layer {at} has no class_name. Expected what Keras writes.")
        config = entry.get("config")
        name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
        name = name if isinstance(name, str) else f"{entry['class_name'].lower()}_{at}"
        if name in entries:
            raise InputError(f"two layers are called {quote(name)}. Refused as ambiguous.")
        entries[name] = as_operation(name, entry)
    return entries


def _sequential(config: Entry, entries: Entries, reading: Reading) -> Wiring:
    sources = [name for name, entry in entries.items() if entry["class_name"] == "InputLayer"]
    held = [name for name in entries if name not in sources]
    if not held or len(sources) > 1:
        raise InputError("the Sequential model has no layers, or two inputs. Refused.")
    if sources:
        start, shape = sources[0], input_shape(sources[0], entries[sources[0]])
    else:
        start, first = f"{held[0]}_input", entries[held[0]]
        while start in entries:
            start += "_"
        if KINDS.get(first["class_name"], first["class_name"]) in MODELS:
            shape = _inside(first, reading).shapes[0]
        else:
            shape = first_shape(config, held[0], first)
    places = [start, *held]
    calls = [Call(name, 0, (Ref(before, 0, 0),)) for before, name in pairwise(places)]
    return Wiring(calls, (Ref(start, 0, 0),), (Ref(held[-1], 0, 0),), (shape,))


def _functional(config: Entry, entries: Entries, reading: Reading) -> Wiring:
    calls: list[Call] = []
    for name, entry in entries.items():
        spec = LayerSpec(name, _kind(entry, reading.version), {}, reading.version)
        known = spec.kind == "InputLayer" or reading.portable(spec)
        calls += (calls_of if known else loose_calls_of)(name, entry.get("inbound_nodes"))
    inputs = refs_of("input_layers", config.get("input_layers"))
    outputs = refs_of("output_layers", config.get("output_layers"))
    for ref in inputs:
        if ref.layer not in entries or entries[ref.layer]["class_name"] != "InputLayer":
            raise InputError(f"input {quote(ref.layer)} is no InputLayer of the model.")
    shapes = tuple(input_shape(ref.layer, entries[ref.layer]) for ref in inputs)
    calls, outputs = count_from_zero(calls, outputs)
    return Wiring(calls, inputs, outputs, shapes)


def _graph(entries: Entries, wiring: Wiring, reading: Reading) -> Graph:
    siblings = tuple(
        (name, entry["class_name"])
        for name, entry in entries.items()
        if not _is_operation(entry, reading.version)
    )
    outputs = wiring.outputs
    if reading.up_to is not None:
        outputs = _cut(entries, wiring, reading, reading.up_to)
    calls = ordered(wiring.calls, wiring.inputs, outputs)
    names = dict.fromkeys(call.layer for call in calls)
    layers = {name: parse_layer(name, entries[name], reading) for name in names}
    size = sum(_size(layers[call.layer]) for call in calls)
    if not calls or size > MAX_CALLS:
        raise InputError(f"the model makes {size} calls. Refused: expected 1 to {MAX_CALLS}.")
    return Graph(layers, calls, wiring.inputs, outputs, siblings, wiring.shapes, size)


def _cut(entries: Entries, wiring: Wiring, reading: Reading, name: str) -> tuple[Ref, ...]:
    """Return the tensors to end the model with."""
    calls = [call for call in wiring.calls if call.layer == name]
    if not calls:
        known = ", ".join(quote(call.layer) for call in wiring.calls[:30])
        raise InputError(
            f"up_to={quote(name)} is no layer that is called. Expected one of {known}."
        )
    if reading.portable(parse_layer(name, entries[name], reading)):
        return (Ref(name, calls[-1].index, 0),)
    return tuple(refs(calls[-1]))


def _inside(entry: Entry, reading: Reading) -> Graph:
    """Return a model inside another; where its shape was asked for first, it has been read."""
    known = reading.progress.models
    if id(entry) not in known:
        known[id(entry)] = parse_model(entry, reading.inside())
    return known[id(entry)]


def _size(spec: LayerSpec) -> int:
    inner = sum(_size(each) for each in spec.inner.values())
    return 1 + inner + (spec.graph.size if spec.graph else 0)


def _kind(entry: Entry, version: KerasVersion) -> str:
    """Return the class of a layer in the words of current Keras, whatever its settings."""
    if _is_operation(entry, version):
        return f"operation {entry['class_name']}"
    kind = entry["class_name"]
    if kind == "RNN":
        return "GRU"  # if its cell is one; otherwise it is refused when it is read
    config = entry.get("config")
    return translate(kind, config if isinstance(config, dict) else {}, version)[0]


def _is_operation(entry: Entry, version: KerasVersion) -> bool:
    """Return whether an entry is a bare operation.

    `.keras` files of Keras 3 give the module; its HDF5 files do not, but only layers are
    `trainable`.
    """
    config = entry.get("config")
    if not isinstance(config, dict):
        return False
    if "module" in entry:
        return str(entry["module"]).startswith(MODULE)
    named = entry["class_name"] in OPERATION_NAMES and "trainable" not in config
    return version.major >= 3 and named


def parse_layer(name: str, entry: Json, reading: Reading) -> LayerSpec:
    """Read one layer, with the layers or the model inside it."""
    held = entry if isinstance(entry, dict) else {}
    kind, config, version = held.get("class_name"), held.get("config"), reading.version
    reading.progress.layers += 1
    if reading.progress.layers > MAX_LAYERS:
        raise _too_many()
    if not isinstance(kind, str):
        raise InputError(f"layer {quote(name)} has no class_name. Expected what Keras writes.")
    if KINDS.get(kind, kind) in MODELS:
        graph = _inside(entry, reading)
        return LayerSpec(name, KINDS.get(kind, kind), {}, version, graph=graph)
    if not isinstance(config, dict):
        return LayerSpec(name, kind, {}, version)  # no layer of the table, so refused later
    if _is_operation(entry, version):
        return LayerSpec(name, f"operation {kind}", config, version)
    kind, settings = translate(kind, config, version)
    inner = {
        key: parse_layer(f"{name}/{key}", settings[key], reading)
        for key in ("layer", "backward_layer", "cell")
        if isinstance(settings.get(key), dict)
    }
    if kind == "RNN" and "cell" in inner:
        return _rnn(LayerSpec(name, kind, settings, version, inner), reading)
    return LayerSpec(name, kind, settings, version, inner)


def _rnn(spec: LayerSpec, reading: Reading) -> LayerSpec:
    """Return an RNN of one known cell as the layer of that cell; one of several holds each."""
    cell = spec.inner["cell"]
    if cell.kind in CELLS:
        return replace(spec, kind=CELLS[cell.kind], config={**spec.config, **cell.config}, inner={})
    if cell.kind != "StackedRNNCells":
        return spec  # a cell of somebody's own, refused by its name when it is looked up
    held = cell.config.get("cells")
    cells = [
        parse_layer(f"{spec.name}/cell_{at}", each, reading)
        for at, each in enumerate(held if isinstance(held, list) else [])
    ]
    inner = {
        f"cell_{at}": replace(each, kind=CELLS.get(each.kind, each.kind))
        for at, each in enumerate(cells)
    }
    return replace(spec, inner=inner)
