"""A model as a torch module: its layers, called in the order of its graph."""

from collections.abc import Iterable

import torch
from torch import nn

from grulight.errors import InputError
from grulight.keras_files.layers.base import (
    KerasLayer,
    Pick,
    Signal,
    Tree,
    layer_class,
    most_numbers,
    nested,
    numbers,
)
from grulight.keras_files.layers.constants import constant_tensors, placed, require_constants
from grulight.keras_files.layers.module_names import module_names
from grulight.keras_files.plan.constants import Constant
from grulight.keras_files.plan.ordering import by_depth, refs
from grulight.keras_files.plan.spec import Argument, Call, Graph, LayerSpec, Ref, Shape
from grulight.keras_files.plan.variables import Place, Variables
from grulight.keras_files.reader.untrusted_text import quote

PREFIX = "operation "
MOST_TENSORS = 16  # of the largest size that a model may make of one input
RECURRENT = ("GRU", "LSTM", "SimpleRNN", "RNN", "Bidirectional")
TOOK_IDS = ("Embedding", "Sequential", "Functional", "TimeDistributed")  # inputs may be integers


class Network(KerasLayer):
    """A Sequential or Functional model, at the top or nested in another."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.graph = graph = graph_of(spec)
        self.keys = module_names(graph.layers)
        self.layers = nn.ModuleDict()
        for name, layer in graph.layers.items():
            self.layers[self.keys[name]] = layer_class(layer)(layer, arrays.get(name, {}))
        modes: dict[str, set[bool | None]] = {}
        ids: set[Argument] = set()
        for call in graph.calls:
            modes.setdefault(call.layer, set()).add(call.training)
            if graph.layers[call.layer].kind in TOOK_IDS:
                ids.update(call.inputs)
        for name, held in modes.items():
            if spec.version.major < 3 and len(held) == 1:  # Keras 3 takes the model's own mode
                [self.layer(name).always] = held
        # Keras 3's MultiHeadAttention takes the masks off what it reads: later layers see none
        heads = {n for n, each in graph.layers.items() if each.kind == "MultiHeadAttention"}
        self.takes_masks = heads if spec.version.major >= 3 else set()
        self.calls = by_depth(graph.calls)  # a layer's statistics move with each call in turn
        # no buffers: these are settings of the file, not weights
        self.constants = constant_tensors(graph.calls)
        self.float_inputs = {*graph.inputs} - ids

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the arrays of all layers, by their names."""
        graph = graph_of(spec)
        seen, places = trace(graph, shapes), _places(graph)
        held: Variables = {}
        for call in graph.calls:
            layer = graph.layers[call.layer]
            if call.index > 0 and call.layer in held:
                continue
            inputs = tuple(_shape(each, seen) for each in call.inputs)
            if variables := layer_class(layer).variables(layer, inputs):
                held[call.layer] = nested(variables, places[call.layer])
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shapes of the model's outputs."""
        graph = graph_of(spec)
        seen = trace(graph, shapes)
        return tuple(seen[ref] for ref in graph.outputs)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the outputs with their masks."""
        seen: dict[Ref, Signal] = {}
        for ref, (value, mask) in zip(self.graph.inputs, signals, strict=True):
            if ref in self.float_inputs and not value.dtype.is_floating_point:
                value = value if value.dtype == torch.bool else value.to(self.dtype)
            seen[ref] = Signal(value, mask)
        for call in self.calls:
            outputs = self.layers[self.keys[call.layer]](*self._arguments(call, seen))
            for at, output in enumerate(outputs):
                seen[Ref(call.layer, call.index, at)] = output
            if call.layer in self.takes_masks:
                seen |= {ref: Signal(seen[ref].value) for ref in refs(call)}
        return tuple(seen[ref] for ref in self.graph.outputs)

    def _arguments(self, call: Call, seen: dict[Ref, Signal]) -> Iterable[Signal]:
        for at, argument in enumerate(call.inputs):
            if isinstance(argument, Ref):
                value, mask = seen[argument]
                given = call.masks[at] if at < len(call.masks) else None
                if self._drops_masks(call):
                    mask = None
                yield Signal(value, mask if given is None else seen[given].value.bool())
            elif isinstance(argument, Constant):
                yield Signal(placed(self.constants[argument], self))
            else:
                # a lone double takes the type of what it meets
                wide = torch.float64 if isinstance(argument, float) else None
                yield Signal(torch.tensor(argument, dtype=wide))

    def _drops_masks(self, call: Call) -> bool:
        """Return whether Keras attaches no mask to this call.

        Keras 3 does so only for layers called with one tensor (layers/layer.py, __call__, 6.).
        """
        spec = self.graph.layers[call.layer]
        return spec.version.major >= 3 and spec.kind in RECURRENT and len(call.inputs) > 1

    @property
    def dtype(self) -> torch.dtype:
        """The type that the layers compute in."""
        floats = (p.dtype for p in self.parameters() if p.dtype.is_floating_point)
        return next(floats, torch.get_default_dtype())

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the arrays of all layers that have some, by their names."""
        held = {name: self.layer(name).to_keras(pick) for name in self.keys}
        return {name: arrays for name, arrays in held.items() if arrays}

    def layer(self, name: str) -> KerasLayer:
        """Return a layer by its name in the file."""
        layer = self.layers[self.keys[name]]
        assert isinstance(layer, KerasLayer)
        return layer


def graph_of(spec: LayerSpec) -> Graph:
    """Return the graph of a model's specification."""
    assert spec.graph is not None
    return spec.graph


def trace(graph: Graph, shapes: tuple[Shape, ...]) -> dict[Ref, Shape]:
    """Return the shape of every tensor of the graph.

    Raises:
        InputError: A layer cannot take what the graph gives it, or gives more than any model needs.
    """
    if len(shapes) != len(graph.inputs):
        raise InputError(f"a model with {len(graph.inputs)} inputs is called with {len(shapes)}.")
    seen = dict(zip(graph.inputs, shapes, strict=True))
    most = most_numbers(shapes)
    left = MOST_TENSORS * most
    for call in graph.calls:
        layer = graph.layers[call.layer]
        inputs = tuple(_shape(each, seen) for each in call.inputs)
        if () in inputs and not layer.kind.startswith(PREFIX):
            raise layer.refuse("inputs", f"tensors with a batch axis, got {inputs}")
        require_constants(layer, call, layer.kind.startswith(PREFIX))
        for at, shape in enumerate(layer_class(layer).output_shapes(layer, inputs)):
            seen[Ref(call.layer, call.index, at)] = shape
            left -= numbers(shape)
            if numbers(shape) > most or left < 0:
                raise layer.refuse("outputs", f"at most {most} numbers, got {shape}")
    for ref in graph.outputs:
        if ref not in seen:
            raise _no_tensor(ref)
    return seen


def _shape(argument: Argument, seen: dict[Ref, Shape]) -> Shape:
    if isinstance(argument, Constant):
        return argument.shape
    if not isinstance(argument, Ref):
        return ()
    if argument not in seen:
        raise _no_tensor(argument)
    return seen[argument]


def _no_tensor(ref: Ref) -> InputError:
    return InputError(f"output {ref.tensor} of layer {quote(ref.layer)} is used but not there.")


def _places(graph: Graph) -> dict[str, Place]:
    """Return where native files keep each layer: which one of its class it is."""
    same: dict[str, list[str]] = {}
    for name, kind in graph.siblings:
        same.setdefault(kind, []).append(name)
    return {
        name: Place(kind, at, len(names), name)
        for kind, names in same.items()
        for at, name in enumerate(names)
    }
