"""What the user puts into the Trainer, checked before it trains, and given a place to write to."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler, Profiler

from grulight.errors import InputError
from grulight.heads import Head
from grulight.training.part_scores import score_names

_UNFIT = {
    LearningRateFinder: "sets an attribute of the model, which has none: the learning rate is the "
    "optimizer's. Leave it out and set --optimizer.lr.",
    BatchSizeFinder: "trains before the training, which would then go on from there. Leave it out "
    "and set --data.batch_size.",
    StochasticWeightAveraging: "averages weights once the last checkpoint is written: the tested "
    "model would be in none. Leave it out.",
}
_OURS = ("lightning.", "grulight.")  # whose callbacks log no metrics of their own


def check_callbacks(
    callbacks: Sequence[Any], watched: Mapping[str, str | None], head: Head, *, validates: bool
) -> None:
    """Refuse callbacks and settings that ask for what this training does not have.

    Args:
        callbacks: Those that the user chose.
        watched: What other settings watch, by the option.
        head: What the model answers, which decides what it is measured by.
        validates: Whether there is a validation part.

    Raises:
        InputError: One watches a metric that there is not, or cannot do here what it is for.
    """
    watching = [(type(each).__name__, getattr(each, "monitor", None)) for each in callbacks]
    watching += watched.items()
    for name, metric in watching:
        if not validates and str(metric).startswith("val_"):
            raise InputError(
                f"{name} watches {metric}, but there is no validation part. Set "
                "--data.val_size, such as 0.1, or watch train_loss."
            )
    _require_supported(callbacks)
    if all(type(each).__module__.startswith(_OURS) for each in callbacks):
        _require_known_metrics(watching, head, validates=validates)


def check_how_often(
    watched: Mapping[str, str | None], every: int | None, epochs: int | None
) -> None:
    """Refuse settings that watch a validation which is too rare for them.

    Args:
        watched: What settings watch, by the option.
        every: Epochs from one validation to the next; None where batches are counted.
        epochs: Of the training; None or -1 for no end.

    Raises:
        InputError: There is none in all the training, or not after each epoch.
    """
    for name, metric in watched.items():
        if not str(metric).startswith("val_") or every is None:
            continue
        never = epochs is not None and 0 <= epochs < every
        if never or (every > 1 and name == "--lr_scheduler"):
            raise InputError(
                f"{name} watches {metric} {'in' if never else 'after each of'} {epochs} epochs, "
                f"but --trainer.check_val_every_n_epoch is {every}. Lower it, such as to 1."
            )


def _require_supported(callbacks: Sequence[Any]) -> None:
    """Refuse callbacks that cannot do here what they are for.

    Raises:
        InputError: There is such a callback.
    """
    for callback in callbacks:
        for kind, reason in _UNFIT.items():
            if isinstance(callback, kind):
                raise InputError(f"{kind.__name__} {reason}")


def _require_known_metrics(
    watching: Sequence[tuple[str, str | None]], head: Head, *, validates: bool
) -> None:
    """Refuse to watch a metric that the training does not have.

    Raises:
        InputError: Somebody does.
    """
    known = [f"train_{name}" for name in ("loss", head.metric)]
    if validates:
        known += [f"val_{name}" for name in ("loss", head.metric, *score_names(head))]
    for name, watched in watching:
        counts = ("epoch", "step") if name == ModelCheckpoint.__name__ else ()
        if watched is not None and watched not in (*known, *counts):
            raise InputError(
                f"{name} watches {watched}, which this training does not have. Watch one of "
                f"{', '.join(known)}."
            )


def with_directory(chosen: Any, own: Sequence[Logger]) -> Any:
    """Return the user's loggers with one first that has a directory for the run's other files.

    Args:
        chosen: One logger, some, or False for none.
        own: Loggers that have such a directory.
    """
    if chosen is False:
        return False
    listed = list(chosen) if isinstance(chosen, (list, tuple)) else [chosen]
    first = [each for each in listed if isinstance(each, (CSVLogger, TensorBoardLogger))]
    return [*(first or own), *(each for each in listed if each not in first)]


def let_profiler_write(trainer: Trainer) -> None:
    """Let a profile without a file become one of the run's: what Lightning logs is not shown."""
    profiler = getattr(trainer, "profiler", None)
    if not isinstance(profiler, Profiler) or isinstance(profiler, PassThroughProfiler):
        return
    profiler.filename = profiler.filename or "profile"
