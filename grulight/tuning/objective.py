"""What a trial is judged by: a validation metric, epoch by epoch."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torchmetrics.classification import MulticlassConfusionMatrix

from grulight.errors import InputError, option
from grulight.training.classifier import GRUClassifier
from grulight.training.confusion import scores_of
from grulight.training.part_scores import score_names

Objective = Literal[
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_macro_f1",
    "val_mae",
    "val_rmse",
    "val_r2",
]
_SCORES = ("val_balanced_accuracy", "val_macro_f1")  # from a confusion matrix


def maximizes(objective: Objective) -> bool:
    """Return whether more of an objective is better."""
    return objective not in ("val_loss", "val_mae", "val_rmse")


class ObjectiveReporter(Callback):
    """Report the objective after every epoch, and end the training where it is told to.

    Args:
        objective: What is reported.
        stops: Is told the epoch, counted from 0, and the value; returns whether to stop.

    Attributes:
        value: The objective after the last epoch; None before the first.
        stopped: Whether the training was told to stop.
        confusion: (true, predicted) of the validation part after the last epoch; None where
            there are no classes, or too many.
    """

    def __init__(self, objective: Objective, stops: Callable[[int, float], bool]) -> None:
        self.objective, self._stops = objective, stops
        self.value: float | None = None
        self.stopped = False
        self.confusion: NDArray[np.int64] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the model has what is asked for."""
        assert isinstance(pl_module, GRUClassifier)
        head = pl_module.head
        known = [f"val_{name}" for name in ("loss", head.metric, *score_names(head))]
        if pl_module.confusion is not None:
            known += _SCORES
        if self.objective not in known:
            raise InputError(
                f"{option('objective', self.objective)}: this model is measured by "
                f"{', '.join(known)}."
            )
        if pl_module.confusion is not None:
            classes = pl_module.confusion.num_classes
            pl_module.val_confusion = MulticlassConfusionMatrix(classes, validate_args=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and stop where told to."""
        assert isinstance(pl_module, GRUClassifier)
        if pl_module.val_confusion is not None:
            self.confusion = pl_module.val_confusion.compute().cpu().numpy()
        if self.objective in _SCORES:
            assert self.confusion is not None
            self.value = scores_of(self.confusion)[self.objective.removeprefix("val_")]
        else:
            self.value = float(pl_module.epoch_metrics("val")[self.objective])
        if self._stops(trainer.current_epoch, self.value):
            self.stopped = trainer.should_stop = True
