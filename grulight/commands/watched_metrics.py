"""Which metrics callbacks and schedulers of the user's may watch."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.callbacks import LearningRateFinder

from grulight.errors import InputError


def require_known_metrics(
    callbacks: Sequence[Any], scheduler: Namespace | None, *, validates: bool
) -> None:
    """Refuse callbacks and schedulers that watch or set what this training does not have.

    Args:
        callbacks: Those that the user chose.
        scheduler: The settings of the learning rate's scheduler, where there is one.
        validates: Whether there is a validation part.

    Raises:
        InputError: One watches a metric of a validation part that is not there, or sets the
            learning rate as an attribute of the model.
    """
    watching = {type(each).__name__: getattr(each, "monitor", None) for each in callbacks}
    watching["--lr_scheduler"] = scheduler and scheduler.get("init_args.monitor")
    for name, metric in watching.items():
        if not validates and str(metric).startswith("val_"):
            raise InputError(
                f"{name} watches {metric}, but there is no validation part. Set "
                "--data.val_size, such as 0.1, or watch train_loss."
            )
    if any(isinstance(each, LearningRateFinder) for each in callbacks):
        raise InputError(
            "LearningRateFinder sets an attribute of the model, which has none: the learning "
            "rate is the optimizer's. Leave it out and set --optimizer.lr."
        )
