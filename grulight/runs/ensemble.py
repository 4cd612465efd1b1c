"""Several classifiers of the same task that answer as one: the mean of their predictions."""

from collections.abc import Sequence
from os import PathLike

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from grulight.data.batches import Batch
from grulight.errors import InputError
from grulight.runs.checkpoint import load_classifier
from grulight.training.classifier import GRUClassifier

_SAME = ("input_size", "num_classes", "class_names", "feature_names")


class Ensemble(LightningModule):
    """Answer with the mean of what the members predict.

    Args:
        members: The classifiers, at least two.
        names: What each is called, for messages.

    Raises:
        InputError: They answer about other data than each other.
    """

    def __init__(self, members: Sequence[GRUClassifier], names: Sequence[object]) -> None:
        super().__init__()
        first = members[0]
        for member, name in zip(members, names, strict=True):
            differing = [key for key in _SAME if member.hparams[key] != first.hparams[key]]
            if differing or member.head != first.head:
                what = differing[0] if differing else "head"
                raise InputError(f"{name}: has another {what} than {names[0]}. Train both alike.")
        self.members = nn.ModuleList(members)

    @property
    def first(self) -> GRUClassifier:
        """The first member, which says what all answer about."""
        first = self.members[0]
        assert isinstance(first, GRUClassifier)
        return first

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Return what each member predicts, (member, batch, class), or with steps before class."""
        return torch.stack([member.predict_step(batch) for member in self.members])  # type: ignore[operator]


def load_ensemble(paths: Sequence[str | PathLike[str]]) -> Ensemble:
    """Return the classifiers of several checkpoint files as one, ready to predict.

    Raises:
        InputError: A file cannot be opened, or they do not belong together.
    """
    return Ensemble([load_classifier(path) for path in paths], [str(path) for path in paths]).eval()
