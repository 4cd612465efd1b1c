"""Keras' LSTM and SimpleRNN, which GRUs are mixed with, and cells stacked in one RNN.

Legend: B batch, T time, I input, H hidden, G = 4H stacked gates in Keras' order i, f, c, o, which
is torch's i, f, g, o.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.activations import activation
from grulight.keras_files.base import (
    Pick,
    Tree,
    Variable,
    Variables,
    last,
    layer_class,
    nested,
    parameter,
    taken,
)
from grulight.keras_files.layout import cudnn_kernels
from grulight.keras_files.recurrence import (
    Recurrent,
    dropout_masks,
    gate_variables,
    side_by_side,
    stacked_variables,
)
from grulight.keras_files.spec import LayerSpec, Shape

CELL_GROUPS = {"GRU": "gru_cell", "LSTM": "lstm_cell", "SimpleRNN": "simple_rnn_cell"}
LSTM_GATES, GATES_OF_KERAS_1 = "ifco", "icfo"


class SimpleRNN(Recurrent):
    """h' = f(W x + U h + b); W, U and b hold as many gates as the layer has."""

    gates = 1
    bias: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        held = self.canonical(arrays)
        self.weight_ih = parameter(held["kernel"].T, spec)
        self.weight_hh = parameter(held["recurrent_kernel"].T, spec)
        bias = held.get("bias")
        self.register_parameter("bias", None if bias is None else parameter(bias, spec))
        self.activation = activation(spec, "activation", "tanh")
        self.dropout = spec.share("dropout", 0.0)
        self.recurrent_dropout = spec.share("recurrent_dropout", 0.0)
        apart = spec.config.get("implementation") == 1 or self.recurrent_dropout > 0
        self.input_masks = self.gates if apart else 1

    def canonical(self, arrays: Tree) -> Tree:
        """Return kernel, recurrent_kernel and bias, whatever the file's generation."""
        return arrays

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel, recurrent kernel and bias."""
        gates = cls.gates * spec.integer("units")
        return stacked_variables(spec, last(shapes[0]), gates, [(gates,)])

    def project(self, x_BTI: Tensor) -> Tensor:
        """Return W x + b for all steps."""
        masks = dropout_masks(self.training, x_BTI[:, :1], self.dropout, self.input_masks)
        gates = zip(masks, self.weight_ih.chunk(len(masks)), strict=True)
        a_BTG = torch.cat([F.linear(x_BTI * mask, weight) for mask, weight in gates], -1)
        return a_BTG if self.bias is None else a_BTG + self.bias

    def recur(self, h_BH: Tensor, masks: list[Tensor | float]) -> list[Tensor]:
        """Return U h for each gate."""
        gates = zip(masks, self.weight_hh.chunk(self.gates), strict=True)
        return [F.linear(h_BH * mask, weight) for mask, weight in gates]

    def run(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        """Return every hidden state."""
        [h_BH] = states
        masks = dropout_masks(self.training, h_BH, self.recurrent_dropout, 1)
        found = []
        for a_BH in self.project(x).unbind(1):
            h_BH = self.activation(a_BH + self.recur(h_BH, masks)[0])
            found.append(h_BH)
        return [torch.stack(found, 1)]

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return kernel, recurrent_kernel and bias."""
        held = {
            "kernel": taken(self.weight_ih, pick).T,
            "recurrent_kernel": taken(self.weight_hh, pick).T,
        }
        return held if self.bias is None else held | {"bias": taken(self.bias, pick)}


class LSTM(SimpleRNN):
    """Keras' LSTM and CuDNNLSTM: c' = f c + i g and h' = o a(c'), gates i, f, o of x and h."""

    gates = len(LSTM_GATES)

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.gate = activation(spec, "recurrent_activation", "sigmoid")

    def canonical(self, arrays: Tree) -> Tree:
        """Return kernel, recurrent_kernel and bias, the gates in the order i, f, c, o."""
        if "W_i" in arrays:
            return side_by_side(arrays, LSTM_GATES)
        held = dict(arrays)
        units = len(held["recurrent_kernel"])
        if "bias" in held and len(held["bias"]) == 2 * self.gates * units:
            return cudnn_kernels(held, self.gates) | {"bias": sum(np.split(held["bias"], 2))}
        return held

    @classmethod
    def states(cls, spec: LayerSpec) -> tuple[int, ...]:
        """Return the sizes of h and c."""
        return (spec.integer("units"),) * 2

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel, recurrent kernel and bias; Keras 1 has each gate apart."""
        if spec.version.major == 1 and spec.config.get("consume_less") != "gpu":
            return gate_variables(spec, last(shapes[0]), GATES_OF_KERAS_1)
        gates = cls.gates * spec.integer("units")
        biases: list[Shape] = [(gates,), (2 * gates,)]  # CuDNNLSTM has one of the input, one of h
        return stacked_variables(spec, last(shapes[0]), gates, biases)

    def run(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        """Return every hidden state and every c."""
        h_BH, c_BH = states
        masks = dropout_masks(self.training, h_BH, self.recurrent_dropout, self.gates)
        hs, cs = [], []
        for a_BG in self.project(x).unbind(1):
            parts = zip(a_BG.chunk(self.gates, -1), self.recur(h_BH, masks), strict=True)
            i, f, g, o = (a + u for a, u in parts)
            c_BH = self.gate(f) * c_BH + self.gate(i) * self.activation(g)
            h_BH = self.gate(o) * self.activation(c_BH)
            hs.append(h_BH)
            cs.append(c_BH)
        return [torch.stack(hs, 1), torch.stack(cs, 1)]


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
