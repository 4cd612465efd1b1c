"""A Keras model in torch: the module that a port gives."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from grulight.errors import InputError
from grulight.keras_files.layer_report import LayerRow, layer_rows
from grulight.keras_files.layers.base import Pick, Signal, Tree
from grulight.keras_files.layers.network import Network, trace
from grulight.keras_files.plan.spec import Graph, LayerSpec, Shape
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.reader.versions import KerasVersion

MOST_SHAPES = 1000  # of inputs that are remembered


class PortedModel(nn.Module):
    """A Keras model in torch.

    Called with tensors in the order of the file's inputs, by the inputs' names, or with one
    dictionary by these names; returns one tensor, a tuple in the order of the file's outputs, or
    a dictionary where Keras' model does.

    Attributes:
        network: The layers and the calls between them.
        description: What the model is, as numbers, texts, lists and dictionaries: with the
            `state_dict` it makes the model again (`rebuild`).
        table: One row per layer.
        ignored: What else was in the file, in words.
    """

    def __init__(self, graph: Graph, arrays: Tree, description: dict[str, Json]) -> None:
        super().__init__()
        version = KerasVersion.parse(description["keras_version"], "3")
        self.network = Network(LayerSpec("model", "Functional", {}, version, graph=graph), arrays)
        self.description = description
        self.table: tuple[LayerRow, ...] = layer_rows(graph, self.network)
        self.ignored: tuple[str, ...] = tuple(description["ignored"])
        self._seen: set[tuple[Shape, ...]] = set()  # shapes of inputs that are known to do
        if any(each.dtype == torch.float64 for each in self.state_dict().values()):
            self.double()

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return self.network.graph.input_names

    @property
    def id_names(self) -> Mapping[str, Sequence[str]]:
        """What each id stands for, by input, where the file had words for them."""
        names: Mapping[str, Sequence[str]] = self.description.get("id_names", {})
        return names

    def forward(
        self, *inputs: Tensor | Mapping[str, Tensor], **named: Tensor
    ) -> Tensor | tuple[Tensor, ...] | dict[str, Tensor]:
        """Return the model's output, a tuple of them, or a dictionary of them."""
        values = tuple(each.value for each in self.signals(*inputs, **named))
        if keys := self.network.graph.output_names:
            return dict(zip(keys, values, strict=True))
        return values if len(values) > 1 else values[0]

    def signals(
        self, *inputs: Tensor | Mapping[str, Tensor], **named: Tensor
    ) -> tuple[Signal, ...]:
        """Return the outputs with the masks that Keras would attach to them.

        Raises:
            InputError: A dictionary has other keys than the inputs' names.
        """
        names = self.input_names
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            named, inputs = self._of_dictionary(inputs[0], named), ()
        placed = [each for each in inputs if isinstance(each, Tensor)]
        given = dict(zip(names, placed, strict=False)) | named
        if len(placed) + len(named) != len(names) or set(given) != set(names):
            raise TypeError(
                f"expected {len(names)} tensors for {', '.join(names)}, got {len(placed)} by place "
                f"and {', '.join(named) or 'none'} by name."
            )
        if not torch.compiler.is_compiling():
            self._require_room(tuple(tuple(given[name].shape) for name in names))
        outputs: tuple[Signal, ...] = self.network(
            *(Signal(self._cast(given[name])) for name in names)
        )
        return outputs

    def _of_dictionary(
        self, given: Mapping[str, Tensor], named: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        names = self.input_names
        if named or given.keys() != {*names}:
            found = ", ".join(map(quote, (*given, *named))) or "none"
            raise InputError(
                f"the model is called with a dictionary of {found}, expected the keys "
                f"{', '.join(map(quote, names))}. Give one tensor for each."[:500]
            )
        return dict(given)

    def _require_room(self, shapes: tuple[Shape, ...]) -> None:
        """Refuse inputs of which the file would make far more than any model needs."""
        if shapes not in self._seen:
            trace(self.network.graph, shapes)
            if len(self._seen) >= MOST_SHAPES:
                self._seen.clear()
            self._seen.add(shapes)

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.network.dtype) if tensor.is_floating_point() else tensor

    def keras_arrays(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the arrays in Keras' layout by layer, or what ``pick`` takes of each parameter."""
        return self.network.to_keras(pick)
