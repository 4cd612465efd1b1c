"""Keras' RNN of several cells, one above the other."""

from dataclasses import replace

from torch import Tensor, nn

from grulight.keras_files.layers.base import Pick, Tree, last, layer_class, nested
from grulight.keras_files.layers.recurrent_base import Recurrent
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variable, Variables

CELL_GROUPS = {"GRU": "gru_cell", "LSTM": "lstm_cell", "SimpleRNN": "simple_rnn_cell"}


class StackedRNN(Recurrent):
    """Keras' RNN of several cells: each reads what the one before it puts out at the same step.

    Masked steps stop them all together, so the cells may run one after the other.
    """

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.cells = nn.ModuleDict(
            {name: layer_class(cell)(cell, arrays[name]) for name, cell in spec.inner.items()}
        )
        self.output = sum(map(len, _states(spec)[:-1]))

    @classmethod
    def states(cls, spec: LayerSpec) -> tuple[int, ...]:
        """Return the sizes of all cells' states."""
        return tuple(size for sizes in _states(spec) for size in sizes)

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the arrays of each cell."""
        held: Variables = {}
        features = last(shapes[0])
        for place, (name, cell) in zip(_places(spec), spec.inner.items(), strict=True):
            variables = layer_class(cell).variables(cell, ((None, None, features),))
            held[name] = nested(_without_cell(variables), "cell", "cells", place)
            features = cell.integer("units")
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the last cell's output, and the states."""
        states = _states(spec)
        single = super().output_shapes(spec, shapes)
        return ((*single[0][:-1], states[-1][0]), *single[1:])

    def run(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        """Return every state of every cell."""
        found: list[Tensor] = []
        for cell in self.cells.values():
            assert isinstance(cell, Recurrent)
            sequences = cell.run(x, states[len(found) : len(found) + len(cell.state_sizes)])
            x = sequences[cell.output]
            found += sequences
        return found

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the arrays of each cell."""
        return {name: cell.to_keras(pick) for name, cell in self.cells.items()}  # type: ignore[operator]


def _states(spec: LayerSpec) -> list[tuple[int, ...]]:
    """Return the sizes of each cell's states."""
    found = []
    for cell in spec.inner.values():
        kind = layer_class(cell)
        if not issubclass(kind, Recurrent):
            raise spec.refuse("cell", "GRUCell, LSTMCell or SimpleRNNCell, or a list of them")
        found.append(kind.states(cell))
    if not found:
        raise spec.refuse("cell", "a cell")
    return found


def _places(spec: LayerSpec) -> list[str]:
    """Return the groups of the cells in a native file: by class, counted."""
    seen: dict[str, int] = {}
    places = []
    for cell in spec.inner.values():
        name = CELL_GROUPS[cell.kind]
        places.append(f"{name}_{seen[name]}" if name in seen else name)
        seen[name] = seen.get(name, 0) + 1
    return places


def _without_cell(variables: Variables) -> Variables:
    """Return a cell's variables without the group of the layer that a single cell has."""
    return {
        name: replace(held, path=held.path[1:])
        for name, held in variables.items()
        if isinstance(held, Variable)
    }
