"""Keras' LSTM.

Legend: B batch, T time, I input, H hidden, G = 4H stacked gates in Keras' order i, f, c, o, which
is torch's i, f, g, o.
"""

import numpy as np
import torch
from torch import Tensor

from grulight.keras_files.layers.activations import activation
from grulight.keras_files.layers.base import Tree, last
from grulight.keras_files.layers.layout import cudnn_kernels
from grulight.keras_files.layers.recurrent_base import (
    dropout_masks,
    gate_variables,
    side_by_side,
    stacked_variables,
)
from grulight.keras_files.layers.simple_rnn import SimpleRNN
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables

LSTM_GATES, GATES_OF_KERAS_1 = "ifco", "icfo"


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
