"""Keras' SimpleRNN, and what LSTM has in common with it: its arrays and its products.

Legend: B batch, T time, I input, H hidden, G stacked gates.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.layers.activations import activation
from grulight.keras_files.layers.base import Pick, Tree, last, parameter, taken
from grulight.keras_files.layers.recurrent_base import Recurrent, dropout_masks, stacked_variables
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables


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
