"""Keras' losses in torch, from what a model puts out."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from parity.question import Question


def losses_of(question: Question, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Keras' loss of every output, from what the model puts out."""
    found = {}
    for name, kind in question.settings["losses"].items():
        target = torch.tensor(question.inputs[f"target.{name}"])
        found[name] = LOSSES[kind](outputs[name], target)
    return found


def categorical(p: Tensor, y: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Return the cross entropy of classes (keras/src/backend/tensorflow/nn.py)."""
    q = (p / p.sum(-1, keepdim=True)).clamp(epsilon, 1 - epsilon)
    return -(y * q.log()).sum(-1).mean()


def binary(p: Tensor, y: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Return the cross entropy of yes and no (keras/src/backend/tensorflow/nn.py)."""
    q = p.clamp(epsilon, 1 - epsilon)
    return -(y * q.log() + (1 - y) * (1 - q).log()).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "categorical": categorical,
    "binary": binary,
    "squared error": lambda p, y: (p - y).square().mean(),
}
