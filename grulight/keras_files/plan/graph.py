"""A Keras configuration of any generation as a graph: which layers there are and who calls whom."""

from dataclasses import replace
from itertools import pairwise

from grulight.errors import InputError, option
from grulight.keras_files.plan.call_words import named_entries
from grulight.keras_files.plan.cutting import Wiring, ending, needed_inputs
from grulight.keras_files.plan.dialect import KINDS, translate
from grulight.keras_files.plan.entries import Entries, Entry, is_operation, kind_of
from grulight.keras_files.plan.front_ends import without_front_ends
from grulight.keras_files.plan.inputs import first_shape, input_shape
from grulight.keras_files.plan.ordering import count_from_zero, ordered
from grulight.keras_files.plan.parse_context import (
    MAX_CALLS,
    MAX_LAYERS,
    MAX_NESTING,
    ParseContext,
    too_many_layers,
)
from grulight.keras_files.plan.spec import Call, FrontEnd, Graph, LayerSpec, Ref
from grulight.keras_files.plan.wiring import calls_of, keys_of, loose_calls_of, refs_of
from grulight.keras_files.reader.untrusted_text import Json, quote

MODELS = ("Sequential", "Functional")
CELLS = {"GRUCell": "GRU", "LSTMCell": "LSTM", "SimpleRNNCell": "SimpleRNN"}


def parse_model(entry: Json, context: ParseContext) -> Graph:
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
    if context.nesting > MAX_NESTING:
        raise InputError(f"models are nested deeper than {MAX_NESTING} levels. Refused.")
    config = entry.get("config")
    if isinstance(config, list):
        config = {"layers": config}
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise InputError(f"the {kind} model lists no layers. Expected what Keras writes.")
    if len(config["layers"]) > MAX_LAYERS:
        raise too_many_layers()
    entries = named_entries(config["layers"])
    if kind == "Sequential":
        wiring = _sequential(config, entries, context)
    else:
        wiring = _functional(config, entries, context)
    return _graph(entries, wiring, context)


def _sequential(config: Entry, entries: Entries, context: ParseContext) -> Wiring:
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
            shape = _model_inside(first, replace(context, up_to=None)).shapes[0]
        else:
            shape = first_shape(config, held[0], first)
    places = [start, *held]
    calls = [Call(name, 0, (Ref(before, 0, 0),)) for before, name in pairwise(places)]
    return Wiring(calls, (Ref(start, 0, 0),), (Ref(held[-1], 0, 0),), (shape,))


def _functional(config: Entry, entries: Entries, context: ParseContext) -> Wiring:
    calls: list[Call] = []
    for name, entry in entries.items():
        spec = LayerSpec(name, kind_of(entry, context), {}, context.version)
        known = spec.kind == "InputLayer" or context.portable(spec)
        calls += (calls_of if known else loose_calls_of)(name, entry.get("inbound_nodes"))
    inputs = refs_of("input_layers", config.get("input_layers"))
    outputs = refs_of("output_layers", config.get("output_layers"))
    for ref in inputs:
        if ref.layer not in entries or entries[ref.layer]["class_name"] != "InputLayer":
            raise InputError(f"input {quote(ref.layer)} is no InputLayer of the model.")
    shapes = tuple(input_shape(ref.layer, entries[ref.layer]) for ref in inputs)
    calls, outputs = count_from_zero(calls, outputs)
    keys = keys_of(config.get("output_layers"))
    return Wiring(calls, inputs, outputs, shapes, output_names=keys)


def _graph(entries: Entries, wiring: Wiring, context: ParseContext) -> Graph:
    def spec_of(name: str, up_to: str | None) -> LayerSpec:
        return parse_layer(name, entries[name], replace(context, up_to=up_to))

    front_ends: tuple[FrontEnd, ...] = ()
    if context.nesting == 0:
        wiring, front_ends = without_front_ends(wiring, entries)
    every, up_to = len(wiring.calls), context.up_to
    if up_to is not None:
        wiring = ending(wiring, up_to, spec_of, context.portable)
    calls = ordered(wiring.calls, wiring.inputs, wiring.outputs)
    names = dict.fromkeys(call.layer for call in calls)
    layers = {name: wiring.cut.get(name) or spec_of(name, None) for name in names}
    size = sum(_size(layers[call.layer]) for call in calls)
    if not calls and up_to is not None and context.nesting == 0:
        place = option("up_to", up_to)
        raise InputError(f"{place}: nothing lies before it that could be ported.")
    if size > MAX_CALLS or (not calls and up_to is None):
        raise InputError(f"the model makes {size} calls. Refused: expected 1 to {MAX_CALLS}.")
    inputs, shapes = wiring.inputs, wiring.shapes
    if up_to is not None:
        inputs, shapes = needed_inputs(wiring, calls)
    siblings = tuple(
        (name, entry["class_name"])
        for name, entry in entries.items()
        if not is_operation(entry, context) and name not in {each.layer for each in front_ends}
    )
    cut = up_to is not None and (bool(wiring.cut) or len(calls) < every)
    ends = (inputs, wiring.outputs)
    keys = wiring.output_names if up_to is None else ()
    return Graph(layers, calls, *ends, siblings, shapes, size, cut, front_ends, keys)


def _model_inside(entry: Entry, context: ParseContext) -> Graph:
    """Return a model inside another; where its shape was asked for first, it has been read."""
    if context.up_to is not None:
        return parse_model(entry, replace(context.inside(), up_to=context.up_to))
    known = context.progress.models
    if id(entry) not in known:
        known[id(entry)] = (entry, parse_model(entry, context.inside()))
    return known[id(entry)][1]


def _size(spec: LayerSpec) -> int:
    inner = sum(_size(each) for each in spec.inner.values())
    return 1 + inner + (spec.graph.size if spec.graph else 0)


def parse_layer(name: str, entry: Json, context: ParseContext) -> LayerSpec:
    """Read one layer, with the layers or the model inside it."""
    held = entry if isinstance(entry, dict) else {}
    kind, config, version = held.get("class_name"), held.get("config"), context.version
    context.progress.layers += 1
    if context.progress.layers > MAX_LAYERS:
        raise too_many_layers()
    if not isinstance(kind, str):
        raise InputError(f"layer {quote(name)} has no class_name. Expected what Keras writes.")
    if KINDS.get(kind, kind) in MODELS:
        graph = _model_inside(entry, context)
        return LayerSpec(name, KINDS.get(kind, kind), {}, version, graph=graph)
    if not isinstance(config, dict):
        return LayerSpec(name, kind, {}, version)  # no layer of the table, so refused later
    if is_operation(entry, context):
        return LayerSpec(name, f"operation {kind}", config, version)
    kind, settings = translate(kind, config, version)
    inner = {
        key: parse_layer(f"{name}/{key}", settings[key], context)
        for key in ("layer", "backward_layer", "cell")
        if isinstance(settings.get(key), dict)
    }
    if kind == "RNN" and "cell" in inner:
        return _rnn(LayerSpec(name, kind, settings, version, inner), context)
    return LayerSpec(name, kind, settings, version, inner)


def _rnn(spec: LayerSpec, context: ParseContext) -> LayerSpec:
    """Return an RNN of one known cell as the layer of that cell; one of several holds each."""
    cell = spec.inner["cell"]
    if cell.kind in CELLS:
        return replace(spec, kind=CELLS[cell.kind], config={**spec.config, **cell.config}, inner={})
    if cell.kind != "StackedRNNCells":
        return spec  # a cell of somebody's own, refused by its name when it is looked up
    held = cell.config.get("cells")
    cells = [
        parse_layer(f"{spec.name}/cell_{at}", each, context)
        for at, each in enumerate(held if isinstance(held, list) else [])
    ]
    inner = {
        f"cell_{at}": replace(each, kind=CELLS.get(each.kind, each.kind))
        for at, each in enumerate(cells)
    }
    return replace(spec, inner=inner)
