"""The network, on one screen: a GRU reads the sequence, a linear layer answers from its states."""

from typing import cast

import torch
from torch import Tensor, nn

from grulight.kernels.fused import FusedGRU, Kernel


class GRUNet(nn.Module):
    """Answer for a sequence from the last hidden state of a GRU, or for each step from its own.

    The hidden state follows PyTorch's ``nn.GRU``, which is Keras' ``GRU(reset_after=True)``
    (Cho et al. 2014, arXiv 1406.1078, with the reset gate applied after the matrix product).

    Args:
        input_size: Features per time step.
        num_outputs: Numbers in an answer, logits or values; one for a binary task.
        hidden_size: Units of the GRU, the length of the summary per direction.
        num_layers: Stacked GRU layers.
        bidirectional: Also read the sequence backwards; the summary is then both last states.
        dropout: Probability of zeroing between layers and before the head, in training only.
        bias: Whether the GRU has biases.
        kernel: What computes the GRU: ``auto`` takes Numba on a CPU and Triton on CUDA where they
            can, else torch, which is cuDNN on CUDA.
        per_step: Answer for every time step, not once for the sequence.
    """

    def __init__(
        self,
        input_size: int,
        num_outputs: int,
        hidden_size: int = 16,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
        kernel: Kernel = "auto",
        per_step: bool = False,
    ) -> None:
        super().__init__()
        self.per_step = per_step
        self.gru = FusedGRU(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,  # nn.GRU warns where it has no effect
            bidirectional=bidirectional,
            kernel=kernel,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size * (1 + bidirectional), num_outputs)

    @property
    def reads_padding(self) -> bool:
        """Whether what lies behind a shorter sequence changes its answer: never."""
        return False

    @property
    def follows_steps(self) -> bool:
        """Whether there is an answer for each step of the sequences."""
        return self.per_step

    def summarize(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Read padded sequences (batch, time, feature) into summaries (batch, summary).

        ``lengths`` (batch,) counts the valid steps, which come first; None means all are valid.
        """
        _, last = self.gru(values) if lengths is None else self.gru(values, lengths=lengths)
        directions = 1 + self.gru.bidirectional
        return torch.cat(tuple(last[-directions:]), dim=-1)

    def states(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the GRU knows after each step, (batch, time, summary), zero in padding."""
        out, _ = self.gru(values) if lengths is None else self.gru(values, lengths=lengths)
        return cast(Tensor, out)

    def read(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the head answers from: the summaries, or the states of each step."""
        return (self.states if self.per_step else self.summarize)(values, lengths)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return answers (batch, output) to padded sequences (batch, time, feature).

        Per step they are (batch, time, output); what stands in the padding means nothing.
        """
        answers: Tensor = self.head(self.dropout(self.read(values, lengths)))
        return answers

    def answers(
        self, values: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the answers, and which steps (batch, time) of them count; None for all."""
        return self(values, lengths), self.counted(values, lengths)

    def counted(self, values: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """Return which steps (batch, time) have an answer that counts; None for all."""
        if lengths is None or not self.per_step:
            return None
        return torch.arange(values.shape[1], device=values.device) < lengths[:, None]
