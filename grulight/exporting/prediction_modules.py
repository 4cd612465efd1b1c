"""What the exporters trace: modules from raw inputs to what a checkpoint predicts."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from grulight.exporting.subject import Subject, units_of
from grulight.exporting.traceable_gru import OnnxGRU, ScannedGRU, replace_grus
from grulight.model import GRUNet

Twin = type[OnnxGRU] | type[ScannedGRU]


class Prediction(nn.Module):
    """From raw sequences (batch, time, feature) to what a GRUNet predicts, (batch, class).

    Or (batch, label) or (batch, value), or any of them with time after the batch.

    Args:
        subject: What predicts; it stays as it is.
        twin: What computes in the place of `nn.GRU`.
    """

    mean: Tensor | None
    scale: Tensor | None
    target_mean: Tensor | None
    target_scale: Tensor | None

    def __init__(self, subject: Subject, twin: Twin) -> None:
        super().__init__()
        assert subject.classifier is not None
        self.network = copy.deepcopy(subject.classifier.network)
        self.head = subject.classifier.head
        like = next(self.network.parameters())
        units = [torch.from_numpy(each).to(like) for each in units_of(self.head) or ()]
        _keep(self, ("mean", "scale"), subject.statistics)
        _keep(self, ("target_mean", "target_scale"), units)
        replace_grus(self.network, twin)
        self.eval()

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return predictions; `lengths` (batch,) counts the valid steps of padded sequences."""
        if self.mean is not None and self.scale is not None:
            values = (values - self.mean) / self.scale
        # a twin takes them in the place of packing
        assert isinstance(self.network, GRUNet)
        self.network.gru.lengths, lengths = lengths, None
        return self.predicted(self.network(values, lengths))

    def predicted(self, answers: Tensor) -> Tensor:
        """Return what is predicted from answers: probabilities, or values in their own units."""
        # the head keeps its numbers as tensors of their own, which a graph cannot hold
        if self.target_mean is not None and self.target_scale is not None:
            return answers * self.target_scale + self.target_mean
        return self.head.prediction(answers)


class PortedPrediction(nn.Module):
    """From a ported model's raw inputs to its outputs; the arguments are those of `Prediction`."""

    mean: Tensor | None
    scale: Tensor | None

    def __init__(self, subject: Subject, twin: Twin) -> None:
        super().__init__()
        self.model = copy.deepcopy(subject.model)
        _keep(self, ("mean", "scale"), subject.statistics)
        self.lengths = subject.lengths
        assert self.model is not None
        replace_grus(self.model, twin)
        self.eval()

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the output, or several; lengths (batch,) of the first input come last."""
        values, *others = inputs
        if self.mean is not None and self.scale is not None:
            values = (values - self.mean) / self.scale
        if self.lengths:
            valid = torch.arange(values.shape[1], device=values.device) < others.pop()[:, None]
            # padding is zero, as the checkpoint reads it
            values = torch.where(valid.reshape(*valid.shape, *(1,) * (values.dim() - 2)), values, 0)
        assert self.model is not None
        answers: Tensor | tuple[Tensor, ...] = self.model(values, *others)
        return answers


def _keep(module: nn.Module, names: Sequence[str], tensors: Sequence[Tensor] | None) -> None:
    """Give a module buffers, or None under their names: torch.export miscounts those that are."""
    for name, each in zip(names, tensors or (None,) * len(names), strict=True):
        if each is None:
            setattr(module, name, None)
        else:
            module.register_buffer(name, each)
