"""``nn.GRU`` with other arithmetic: same parameters, same ``state_dict``, same call."""

from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from grulight.errors import InputError, option
from grulight.kernels import gate
from grulight.kernels.choices import KERNELS, LARGEST, NUMBA_OBSTACLE
from grulight.kernels.choices import Kernel as Kernel

HAS_TRITON = find_spec("triton") is not None


class FusedGRU(nn.GRU):
    """Read sequences like ``nn.GRU``, with the kernel of one's choice.

    ``numba`` gives a sequence the same bits in any batch, at any place, on any number of threads,
    and sums gradients in a fixed order. ``nn.GRU`` promises neither.

    Args:
        *args: Those of ``nn.GRU``.
        kernel: ``auto`` takes Numba on a CPU where it can run and is fast, Triton on CUDA where it
            can run, else torch, which is cuDNN on CUDA. A kernel that is asked for by name and
            cannot run is an error.
        **kwargs: Those of ``nn.GRU``.

    Raises:
        InputError: There is no such kernel.
    """

    asked: Kernel

    def __init__(self, *args: Any, kernel: Kernel = "auto", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if kernel not in KERNELS:
            raise InputError(
                f"{option('model.kernel', kernel)}: choose one of {', '.join(KERNELS)}."
            )
        self.asked = kernel

    @property
    def kernel(self) -> Literal["torch", "numba", "triton"]:
        """The kernel that computes with the weights as they are now.

        Raises:
            InputError: The kernel that was asked for cannot run with these weights.
        """
        if self.asked == "torch":
            return "torch"
        weight = self.weight_hh_l0
        wanted = self.asked
        if wanted == "auto":
            wanted = "triton" if weight.is_cuda else "numba"
        obstacle = self._obstacle_to_triton() if wanted == "triton" else self._obstacle()
        if self.asked != "auto":
            if obstacle:
                raise InputError(
                    f"{option('model.kernel', wanted)} {obstacle}. Choose auto or torch."
                )
            return wanted
        fast = weight.is_cuda or self.hidden_size <= LARGEST
        return wanted if fast and not obstacle else "torch"

    def _obstacle(self) -> str | None:
        """Say why Numba's kernel cannot run with these weights, if it cannot."""
        weight = self.weight_hh_l0
        if weight.device.type != "cpu":
            return f"runs on the CPU, and the weights are on {weight.device}"
        if weight.dtype not in (torch.float32, torch.float64):
            return f"computes in float32 or float64, and the weights are {weight.dtype}"
        return NUMBA_OBSTACLE

    def _obstacle_to_triton(self) -> str | None:
        weight = self.weight_hh_l0
        if weight.device.type != "cuda":
            return f"runs on CUDA, and the weights are on {weight.device}"
        if not HAS_TRITON:
            return "needs the package triton, which comes with torch for CUDA"
        from grulight.kernels import triton_cuda

        return triton_cuda.obstacle(self.hidden_size, weight.dtype, weight.device)

    def extra_repr(self) -> str:
        """Add the kernel to what ``nn.GRU`` shows."""
        taken = self.asked if self.asked == "triton" else self.kernel
        return f"{super().extra_repr()}, kernel={self.asked}" + (
            f" ({taken})" if self.asked == "auto" else ""
        )

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
    ) -> tuple[Any, Tensor]:
        """Return every state and the last ones, shaped as ``nn.GRU`` shapes them.

        Args:
            input: Sequences as ``nn.GRU`` takes them.
            hx: Initial states (layers * directions, batch, hidden); None for zero.
            lengths: Valid steps (batch,) of a padded ``input``, at least one each, which come
                first; the states past them are zero. The same as packing.
        """
        if self.kernel == "torch":
            return self._in_torch(input, hx, lengths)
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if input.numel() == 0 or input.dim() not in (2, 3):
            return super().forward(input, hx)  # which says what is wrong
        if input.dim() == 2 and (hx is None or hx.dim() == 2) and lengths is None:
            at = 0 if self.batch_first else 1
            out, last = self(input.unsqueeze(at), None if hx is None else hx[:, None])
            return out.squeeze(at), last[:, 0]
        self.check_input(input, None)
        if hx is not None:
            self.check_hidden_size(hx, self.get_expected_hidden_size(input, None))
        x = input if self.batch_first else input.transpose(0, 1)
        if lengths is not None and x.is_cuda and not _is_recorded():
            gate.lengths_of(lengths, *x.shape[:2])  # waits for the GPU: once, not in each layer
        out, last = self._batch(x, hx, lengths)
        return (out if self.batch_first else out.transpose(0, 1)), last

    def _in_torch(
        self, input: Tensor | PackedSequence, hx: Tensor | None, lengths: Tensor | None
    ) -> tuple[Any, Tensor]:
        if lengths is None or isinstance(input, PackedSequence):
            return super().forward(input, hx)
        first = self.batch_first
        packed = pack_padded_sequence(input, lengths.cpu(), first, enforce_sorted=False)
        out, last = super().forward(packed, hx)
        total = input.shape[1 if first else 0]
        return pad_packed_sequence(out, first, total_length=total)[0], last

    def _packed(self, packed: PackedSequence, hx: Tensor | None) -> tuple[PackedSequence, Tensor]:
        """Read a packed batch; its states are packed in the same order."""
        self.check_input(packed.data, packed.batch_sizes)
        x, lengths = pad_packed_sequence(packed, batch_first=True)
        if hx is not None:
            self.check_hidden_size(
                hx, self.get_expected_hidden_size(packed.data, packed.batch_sizes)
            )
        out, last = self._batch(x, hx, lengths)
        if packed.sorted_indices is not None:
            out, lengths = out[packed.sorted_indices], lengths[packed.sorted_indices.cpu()]
        data = pack_padded_sequence(out, lengths, batch_first=True).data
        return packed._replace(data=data), last

    def _batch(self, x: Tensor, hx: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Read padded sequences (batch, time, input) with every layer in every direction."""
        from grulight.kernels.operator import gru

        if lengths is not None:
            lengths = lengths.to(x.device)
        ways, states = 1 + self.bidirectional, []
        leaves = *self.parameters(), x, *(() if hx is None else (hx,))
        keep = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                # nn.GRU draws with time first: the same seed drops the same states
                x = F.dropout(x.transpose(0, 1).contiguous(), self.dropout).transpose(0, 1)
            outputs = []
            for number in range(layer * ways, (layer + 1) * ways):
                weights = self.all_weights[number]
                biases = weights[2:4] if self.bias else (None, None)
                h0 = x.new_zeros(x.shape[0], self.hidden_size) if hx is None else hx[number]
                reverse = number % ways == 1
                out, last, _ = gru(x, h0, lengths, *weights[:2], *biases, reverse, keep)
                outputs.append(out)
                states.append(last)
            x = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
        return x, torch.stack(states)


def _is_recorded() -> bool:
    """Return whether what is computed is recorded, so that no number can be looked at."""
    return torch.compiler.is_compiling() or torch.cuda.is_current_stream_capturing()
