"""Keras' GRU in torch: `nn.GRU` where that computes the same, one readable scan where not.

Legend: B batch, T time, I input, H hidden, G = 3H stacked gates in torch's order r, z, n.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.activations import activation, activation_name
from grulight.keras_files.base import (
    Array,
    KerasLayer,
    Pick,
    Signal,
    Tree,
    Variables,
    last,
    nested,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.layout import cudnn_to_keras, gru_to_keras, gru_to_torch
from grulight.keras_files.spec import LayerSpec, Shape

GATES_OF_KERAS_1 = ("z", "r", "h")


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
        self.dropout = spec.number("dropout", 0.0)
        self.recurrent_dropout = spec.number("recurrent_dropout", 0.0)
        # Keras draws one mask for all gates of the input, or one for each, by `implementation`.
        self.mask_per_gate = spec.config.get("implementation") == 1 or self.recurrent_dropout > 0

    def forward(self, x_BTI: Tensor, h_BH: Tensor) -> Tensor:
        """Return every hidden state (B, T, H)."""
        a_BTG = self._project(x_BTI)
        w_r, w_z, w_n = self.weight_hh_l0.chunk(3)
        b_r, b_z, b_n = (0.0, 0.0, 0.0) if self.bias_hh_l0 is None else self.bias_hh_l0.chunk(3)
        d_r, d_z, d_n = self._masks(h_BH, self.recurrent_dropout, 3)
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
        masks = self._masks(x_BTI[:, :1], self.dropout, 3 if self.mask_per_gate else 1)
        if len(masks) == 1:
            return F.linear(x_BTI * masks[0], self.weight_ih_l0, self.bias_ih_l0)
        gates = zip(masks, self.weight_ih_l0.chunk(3), strict=True)
        a_BTG = torch.cat([(x_BTI * mask) @ weight.T for mask, weight in gates], -1)
        return a_BTG if self.bias_ih_l0 is None else a_BTG + self.bias_ih_l0

    def _masks(self, like: Tensor, rate: float, count: int) -> list[Tensor | float]:
        """Return dropout masks, each the same for all steps of a sequence, as Keras draws them."""
        if not self.training or rate == 0:
            return [1.0] * count
        return [F.dropout(torch.ones_like(like), rate) for _ in range(count)]


def standard_gru(spec: LayerSpec, arrays: dict[str, Array]) -> nn.GRU:
    """Return `nn.GRU` with these parameters."""
    hidden, inputs = arrays["weight_hh"].shape[1], arrays["weight_ih"].shape[1]
    bias = "bias_ih" in arrays
    gru = nn.GRU(inputs, hidden, bias=bias, batch_first=True, device="meta")
    for name, array in arrays.items():
        setattr(gru, f"{name}_l0", parameter(array, spec))
    gru.flatten_parameters()
    return gru


class GRU(KerasLayer):
    """Keras' GRU and CuDNNGRU, also as RNN(GRUCell)."""

    passes_mask = True
    ignored = ("stateful", "unroll", "implementation", "seed", "zero_output_for_mask")

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.standard = _is_standard(spec)
        self.hidden_size = spec.integer("units")
        self.go_backwards = spec.flag("go_backwards")
        self.return_sequences = spec.flag("return_sequences")
        self.return_state = spec.flag("return_state")
        self.zero_masked = spec.flag("zero_output_for_mask")
        self.reset_after = spec.flag("reset_after")
        parameters = gru_to_torch(_canonical(spec, arrays))
        self.gru = standard_gru(spec, parameters) if self.standard else ScanGRU(spec, parameters)

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel, recurrent kernel and bias; Keras 1 has each gate apart."""
        if spec.version.major == 1 and spec.config.get("consume_less") != "gpu":
            return _keras_1_variables(spec, last(shapes[0]))
        units = spec.integer("units")
        gates = 3 * units
        biases: list[Shape] = [(2, gates), (2 * gates,)] if spec.flag("reset_after") else [(gates,)]
        held: Variables = {
            "kernel": variable(spec, "kernel", 0, (last(shapes[0]), gates)),
            "recurrent_kernel": variable(spec, "recurrent_kernel", 1, (units, gates)),
        }
        if spec.flag("use_bias", True):
            held["bias"] = variable(spec, "bias", 2, *biases)
        return nested(held, "cell")

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T, H) or (B, H), and (B, H) for the state."""
        if len(shapes[0]) != 3:
            raise spec.refuse("input", f"shape (batch, time, feature), got {shapes[0]}")
        if spec.flag("time_major"):
            raise spec.refuse("time_major", "false: save the model with batch first")
        state = (shapes[0][0], spec.integer("units"))
        output = (*shapes[0][:2], state[1]) if spec.flag("return_sequences") else state
        return (output, state) if spec.flag("return_state") else (output,)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the output, and the state where asked; the second input is the initial state."""
        (x, mask), *states = signals
        # len(x) would fix the batch size when the module is exported
        h = states[0].value if states else x.new_zeros(x.shape[0], self.hidden_size)
        if self.go_backwards:
            x, mask = x.flip(1), None if mask is None else mask.flip(1)
        y, h = self._run(x, h) if mask is None else self._run_masked(x, h, mask)
        output = y if self.return_sequences else y[:, -1]
        kept = signals[0].mask if self.return_sequences else None
        return (Signal(output, kept), Signal(h))[: 1 + self.return_state]

    def _run(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(self.gru, nn.GRU):
            y = self.gru(x, h)
        else:
            y, _ = self.gru(x, h[None])
        return y, y[:, -1]

    def _run_masked(self, x: Tensor, h: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Skip masked steps: they repeat the output before them, and zeros before the first.

        The valid steps of each sequence are moved to its start, run, and moved back, so that
        holes and left padding cost nothing more.
        """
        valid = mask.to(torch.int64)
        count = valid.cumsum(1)  # valid steps up to and with this one
        total = count[:, -1:]
        target = torch.where(mask, count - 1, total + (1 - valid).cumsum(1) - 1)
        moved = torch.zeros_like(x).scatter(1, target[..., None].expand_as(x), x)
        y, _ = self._run(moved, h)
        source = (count - 1).clamp(min=0)[..., None].expand_as(y)
        shown = mask if self.zero_masked else count > 0
        outputs = torch.where(shown[..., None], y.gather(1, source), 0.0)
        last_valid = y.gather(1, (total - 1).clamp(min=0)[..., None].expand_as(y[:, :1]))[:, 0]
        return outputs, torch.where(total > 0, last_valid, h)

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


def _keras_1_variables(spec: LayerSpec, features: int | None) -> Variables:
    """Return W, U and b of each gate in the order of Keras 1's file: W_z, U_z, b_z, W_r, ..."""
    units = spec.integer("units")
    shapes: dict[str, Shape] = {"W": (features, units), "U": (units, units), "b": (units,)}
    names = [(f"{part}_{gate}", part) for gate in GATES_OF_KERAS_1 for part in shapes]
    return {name: variable(spec, name, i, shapes[p]) for i, (name, p) in enumerate(names)}


def _canonical(spec: LayerSpec, arrays: Tree) -> dict[str, Array]:
    """Return kernel, recurrent_kernel and bias, whatever the file's generation."""
    if "W_z" in arrays:
        parts = (("kernel", "W"), ("recurrent_kernel", "U"), ("bias", "b"))
        return {
            name: np.concatenate([arrays[f"{part}_{gate}"] for gate in GATES_OF_KERAS_1], -1)
            for name, part in parts
        }
    held = dict(arrays)
    if "bias" in held and held["bias"].ndim == 1 and spec.flag("reset_after"):
        return cudnn_to_keras(held)
    return held
