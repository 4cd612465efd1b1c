"""Several classifiers of the same task that answer as one: the mean of their predictions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from grulight.data.batches import Batch
from grulight.errors import InputError
from grulight.training.classifier import GRUClassifier
from grulight.training.measured import Answers, MeasuredModule

_SAME = (
    *("input_size", "num_classes", "class_names", "feature_names"),
    *("offset", "missing", "fill"),  # by which the data are read, once for all
)


def _differing(ours: GRUClassifier, theirs: GRUClassifier) -> str | None:
    """Return in what two classifiers answer about other data than each other; None for nothing."""
    for key in _SAME:
        if ours.hparams[key] != theirs.hparams[key]:
            return key
    if ours.head != theirs.head:
        return "head"
    return None if ours.network.follows_steps == theirs.network.follows_steps else "number of steps"


class Ensemble(MeasuredModule):
    """Answer with the mean of what the members predict, and measure it as that of one.

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
            if (what := _differing(member, first)) is not None:
                raise InputError(f"{name}: has another {what} than {names[0]}. Train both alike.")
        self.members = nn.ModuleList(members)
        self.head, self.class_names = first.head, first.class_names
        self.count_confusions(self.head.num_classes)
        self.score_parts(self.head)

    @property
    def first(self) -> GRUClassifier:
        """The first member, which says what all answer about."""
        first = self.members[0]
        assert isinstance(first, GRUClassifier)
        return first

    def setup(self, stage: str) -> None:
        """Have the data served as the members read them."""
        self.first.serve_whole(self._trainer)

    def answers(self, batch: Batch) -> Answers:
        """Return answers whose prediction is the mean of the members', see the base class.

        Steps count that do for every member; on top of the loss comes the mean of the members'
        penalties, so that it can be compared with theirs.
        """
        found, valid, penalties = zip(
            *(member.answers(batch) for member in self.members),  # type: ignore[operator]
            strict=True,
        )
        answers = torch.stack(found)
        wide = answers.to(torch.promote_types(answers.dtype, torch.float32))
        masks = [each for each in valid if each is not None]
        added = [each for each in penalties if each is not None]
        return (
            self.head.averaged(wide),
            torch.stack(masks).all(0) if masks else None,
            torch.stack(added).sum() / len(self.members) if added else None,
        )

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Return what each member predicts, (member, batch, class), or with steps before class."""
        return torch.stack([member.predict_step(batch) for member in self.members])  # type: ignore[operator]
