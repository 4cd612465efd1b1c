"""Keras' GRU in torch: `nn.GRU` where that computes the same, one readable scan where not.

Legend: B batch, T time, I input, H hidden, G = 3H stacked gates in torch's order r, z, n.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.layers.activations import activation, activation_name
from grulight.keras_files.layers.base import Pick, Tree, last, parameter, taken
from grulight.keras_files.layers.layout import cudnn_to_keras, gru_to_keras, gru_to_torch
from grulight.keras_files.layers.recurrent_base import (
    Recurrent,
    dropout_masks,
    gate_variables,
    side_by_side,
    stacked_variables,
)
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Array, Variables

GATES_OF_KERAS_1 = "zrh"


class ScanGRU(nn.Module):
    """The recurrence of Keras' GRU, with any activation, either reset, and dropout.

    h' = z * h + (1 - z) * n, with r and z gates of x and h, and n = f(W x + r * (U h + b)) where
    the reset comes after the product (Cho et al. 2014, v3), or f(W x + U (r * h)) where before
    (v1). The parameters carry the names of `nn.GRU`.
    """

    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter | None
    bias_hh_l0: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: dict[str, Array]) -> None:
        super().__init__()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            held = parameter(arrays[name], spec) if name in arrays else None
            self.register_parameter(f"{name}_l0", held)
        self.reset_after = spec.flag("reset_after")
        self.activation = activation(spec, "activation")
        self.gate = activation(spec, "recurrent_activation")
        self.dropout = spec.share("dropout", 0.0)
        self.recurrent_dropout = spec.share("recurrent_dropout", 0.0)
        # Keras draws one mask for all gates of the input, or one for each, by `implementation`.
        self.mask_per_gate = spec.config.get("implementation") == 1 or self.recurrent_dropout > 0

    def forward(self, x_BTI: Tensor, h_BH: Tensor) -> Tensor:
        """Return every hidden state (B, T, H)."""
        a_BTG = self._project(x_BTI)
        w_r, w_z, w_n = self.weight_hh_l0.chunk(3)
        b_r, b_z, b_n = (0.0, 0.0, 0.0) if self.bias_hh_l0 is None else self.bias_hh_l0.chunk(3)
        d_r, d_z, d_n = dropout_masks(self.training, h_BH, self.recurrent_dropout, 3)
        states = []
        for a_BG in a_BTG.unbind(1):
            a_r, a_z, a_n = a_BG.chunk(3, -1)
            r = self.gate(a_r + (h_BH * d_r) @ w_r.T + b_r)
            z = self.gate(a_z + (h_BH * d_z) @ w_z.T + b_z)
            u = h_BH * d_n
            u = r * (u @ w_n.T + b_n) if self.reset_after else (r * u) @ w_n.T
            h_BH = z * h_BH + (1 - z) * self.activation(a_n + u)
            states.append(h_BH)
        return torch.stack(states, 1)

    def _project(self, x_BTI: Tensor) -> Tensor:
        count = 3 if self.mask_per_gate else 1
        masks = dropout_masks(self.training, x_BTI[:, :1], self.dropout, count)
        if len(masks) == 1:
            return F.linear(x_BTI * masks[0], self.weight_ih_l0, self.bias_ih_l0)
        gates = zip(masks, self.weight_ih_l0.chunk(3), strict=True)
        a_BTG = torch.cat([(x_BTI * mask) @ weight.T for mask, weight in gates], -1)
        return a_BTG if self.bias_ih_l0 is None else a_BTG + self.bias_ih_l0


def standard_gru(spec: LayerSpec, arrays: dict[str, Array]) -> nn.GRU:
    """Return `nn.GRU` with these parameters."""
    hidden, inputs = arrays["weight_hh"].shape[1], arrays["weight_ih"].shape[1]
    bias = "bias_ih" in arrays
    gru = nn.GRU(inputs, hidden, bias=bias, batch_first=True, device="meta")
    for name, array in arrays.items():
        setattr(gru, f"{name}_l0", parameter(array, spec))
    gru.flatten_parameters()
    return gru


class GRU(Recurrent):
    """Keras' GRU and CuDNNGRU, also as RNN(GRUCell)."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.standard = _is_standard(spec)
        self.reset_after = spec.flag("reset_after")
        parameters = gru_to_torch(_canonical(spec, arrays))
        self.gru = standard_gru(spec, parameters) if self.standard else ScanGRU(spec, parameters)

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel, recurrent kernel and bias; Keras 1 has each gate apart."""
        if spec.version.major == 1 and spec.config.get("consume_less") != "gpu":
            return gate_variables(spec, last(shapes[0]), GATES_OF_KERAS_1)
        units = spec.integer("units")
        gates = 3 * units
        biases: list[Shape] = [(2, gates), (2 * gates,)] if spec.flag("reset_after") else [(gates,)]
        return stacked_variables(spec, last(shapes[0]), gates, biases)

    def run(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        """Return every hidden state."""
        if not isinstance(self.gru, nn.GRU):
            return [self.gru(x, states[0])]
        return [self.gru(x, states[0][None])[0]]

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return kernel, recurrent_kernel and bias."""
        named = self.gru.named_parameters()
        return gru_to_keras({name.removesuffix("_l0"): taken(held, pick) for name, held in named})


def _is_standard(spec: LayerSpec) -> bool:
    return (
        activation_name(spec, "activation") == "tanh"
        and activation_name(spec, "recurrent_activation") == "sigmoid"
        and spec.flag("reset_after")
        and spec.number("dropout", 0.0) == spec.number("recurrent_dropout", 0.0) == 0
    )


def _canonical(spec: LayerSpec, arrays: Tree) -> dict[str, Array]:
    """Return kernel, recurrent_kernel and bias, whatever the file's generation."""
    if "W_z" in arrays:
        return side_by_side(arrays, GATES_OF_KERAS_1)
    held = dict(arrays)
    if "bias" in held and held["bias"].ndim == 1 and spec.flag("reset_after"):
        return cudnn_to_keras(held)
    return held
