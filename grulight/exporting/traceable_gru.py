"""Twins of the GRU layers for exporters: the same parameters, a loop that stays a loop.

torch.export would unroll `nn.GRU` over the steps of its example, and knows no packing. A twin runs
as ONNX' own operator GRU, or as torch's scan, and reads padded sequences by `lengths`.

Legend: B batch, T time, I input, H hidden, G = 3H stacked gates in torch's order r, z, n.
"""

from collections.abc import Sequence

import torch
import torch.onnx.ops
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan  # it has no public name yet
from torch.nn import functional as F

from grulight.keras_files.layers import gru
from grulight.keras_files.layers.layout import KERAS_GATES, TORCH_GATES, reorder
from grulight.kernels.fused import FusedGRU

OPSET = 20
Settings = dict[str, int | float | str | bool | Sequence[int] | Sequence[float] | Sequence[str]]
ONNX_GATES = KERAS_GATES  # z, r, h: the documentation of ONNX' operator GRU


class OnnxGRU(nn.GRU):
    """`nn.GRU` as ONNX' operator GRU, one per layer; it runs nowhere but in an exported file."""

    lengths: Tensor | None = None

    def restack(self) -> None:
        """Hold the parameters as the operator takes them: directions stacked, gates z, r, h."""
        for layer in range(self.num_layers):
            ways = [f"_l{layer}{way}" for way in ("", "_reverse")[: 1 + self.bidirectional]]
            kinds = ["weight_ih", "weight_hh"] + ["bias_ih", "bias_hh"] * self.bias
            rows = {
                kind: torch.stack([self._restacked(kind + way) for way in ways]) for kind in kinds
            }
            self.register_buffer(f"w_{layer}", rows["weight_ih"])
            self.register_buffer(f"r_{layer}", rows["weight_hh"])
            biases = torch.cat([rows["bias_ih"], rows["bias_hh"]], 1) if self.bias else None
            self.register_buffer(f"b_{layer}", biases)

    def _restacked(self, name: str) -> Tensor:
        array = self.get_parameter(name).detach().numpy()
        return torch.from_numpy(reorder(array, TORCH_GATES, ONNX_GATES, axis=0))

    def forward(self, x: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return every output (B, T, ways * H) and the last states (layers * ways, B, H)."""
        ways = 1 + self.bidirectional
        lengths = None if self.lengths is None else self.lengths.to(torch.int32)
        settings: Settings = {
            "direction": "bidirectional" if self.bidirectional else "forward",
            "hidden_size": self.hidden_size,
            "linear_before_reset": 1,  # Keras' reset_after
        }
        y_TBI, last = x.transpose(0, 1), []
        steps, batch, _ = y_TBI.shape
        for layer in range(self.num_layers):
            weights = (self.get_buffer(f"{name}_{layer}") for name in "wr")
            bias = self.get_buffer(f"b_{layer}") if self.bias else None
            start = None if h0 is None else h0[layer * ways : (layer + 1) * ways]
            y, state = torch.onnx.ops.symbolic_multi_out(
                "GRU",
                (y_TBI, *weights, bias, lengths, start),
                settings,
                dtypes=(x.dtype, x.dtype),
                shapes=((steps, ways, batch, self.hidden_size), (ways, batch, self.hidden_size)),
                version=OPSET,
            )
            y_TBI = y.transpose(1, 2).flatten(2)
            last.append(state)
        return y_TBI.transpose(0, 1), torch.cat(last)


class ScannedGRU(nn.GRU):
    """`nn.GRU` as torch's scan, one per layer and direction."""

    lengths: Tensor | None = None

    def restack(self) -> None:
        """Keep the parameters, which are right as they are."""

    def forward(self, x: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return every output (B, T, ways * H) and the last states (layers * ways, B, H)."""
        last: list[Tensor] = []
        for layer in range(self.num_layers):
            outputs = []
            for way in ("", "_reverse")[: 1 + self.bidirectional]:
                h = x.new_zeros(x.shape[0], self.hidden_size) if h0 is None else h0[len(last)]
                y, h = self._scan(x, h, f"_l{layer}{way}")
                outputs.append(y)
                last.append(h)
            x = torch.cat(outputs, -1)
        return x, torch.stack(last)

    def _scan(self, x_BTI: Tensor, h_BH: Tensor, way: str) -> tuple[Tensor, Tensor]:
        """Run one direction; steps past a sequence's length leave its state as it is."""
        backwards = way.endswith("_reverse")
        biases = [self.get_parameter(f"bias_{n}{way}") if self.bias else None for n in ("ih", "hh")]
        w_GH, steps = self.get_parameter("weight_hh" + way), x_BTI.shape[1]
        a_TBG = F.linear(x_BTI, self.get_parameter("weight_ih" + way), biases[0]).transpose(0, 1)
        lengths = torch.full_like(x_BTI[:, 0, 0], steps) if self.lengths is None else self.lengths
        at_T = torch.arange(steps, device=x_BTI.device)
        if backwards:
            a_TBG, at_T = a_TBG.flip(0), at_T.flip(0)

        def step(h_BH: Tensor, now: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            a_BG, at = now
            a_r, a_z, a_n = a_BG.chunk(3, -1)
            u_r, u_z, u_n = F.linear(h_BH, w_GH, biases[1]).chunk(3, -1)
            z = torch.sigmoid(a_z + u_z)
            n = torch.tanh(a_n + torch.sigmoid(a_r + u_r) * u_n)
            h_BH = torch.where((at < lengths)[:, None], n + z * (h_BH - n), h_BH)
            return h_BH, h_BH.clone()

        # a state that another layer left may be a view, and scan wants what a step returns
        h_BH, y_TBH = scan(step, h_BH.contiguous(), (a_TBG, at_T))
        if self.lengths is not None:  # packed sequences have zeros in their padding
            y_TBH = torch.where(at_T[:, None, None] < lengths[:, None], y_TBH, 0)
        return (y_TBH.flip(0) if backwards else y_TBH).transpose(0, 1), h_BH


class ScannedKerasGRU(gru.ScanGRU):
    """Keras' GRU with any activation and either reset, as torch's scan."""

    def forward(self, x_BTI: Tensor, h_BH: Tensor) -> Tensor:
        """Return every hidden state (B, T, H)."""
        w_GH, bias = self.weight_hh_l0, self.bias_hh_l0
        b_G = torch.zeros_like(w_GH[:, 0]) if bias is None else bias

        def step(h_BH: Tensor, a_BG: Tensor) -> tuple[Tensor, Tensor]:
            # scan takes no views of one tensor from outside, so the gates are parted in here
            (w_r, w_z, w_n), (b_r, b_z, b_n) = w_GH.chunk(3), b_G.chunk(3)
            a_r, a_z, a_n = a_BG.chunk(3, -1)
            r = self.gate(a_r + F.linear(h_BH, w_r, b_r))
            z = self.gate(a_z + F.linear(h_BH, w_z, b_z))
            u = r * F.linear(h_BH, w_n, b_n) if self.reset_after else F.linear(r * h_BH, w_n)
            h_BH = z * h_BH + (1 - z) * self.activation(a_n + u)
            return h_BH, h_BH.clone()

        a_TBG = self._project(x_BTI).transpose(0, 1)
        states: tuple[Tensor, Tensor] = scan(step, h_BH.contiguous(), a_TBG)
        return states[1].transpose(0, 1)


def replace_grus(network: nn.Module, twin: type[OnnxGRU] | type[ScannedGRU]) -> None:
    """Turn every GRU layer of a network into its twin."""
    for module in list(network.modules()):
        if type(module) in (nn.GRU, FusedGRU):
            module.__class__ = twin
            module.restack()  # type: ignore[operator]  # mypy knows no such change of class
        elif type(module) is gru.ScanGRU:
            module.__class__ = ScannedKerasGRU
