"""Whether a training can go on from what a checkpoint holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule

from grulight.checkpoint_files.format import CONTINUED
from grulight.checkpoint_files.reader import (
    Checkpoint,
    damaged,
    refuse_foreign_shapes,
    require_weights,
)
from grulight.checkpoint_files.rules import Unfit
from grulight.errors import InputError, option
from grulight.training.training_state import require_training_state

_FREE = ("init", "kernel", "steps_per_execution")  # what does not change the training


def require_continued(
    path: str | Path, checkpoint: Checkpoint, module: LightningModule, max_steps: int = -1
) -> None:
    """Check that a run can go on from a checkpoint.

    A run that has reached ``max_steps`` may be asked to go on: it has nothing left to train.

    Args:
        path: Where it is from, for messages.
        checkpoint: What it holds.
        module: What goes on; its ``optimization`` is None where no command has noted it.
        max_steps: The Trainer's.

    Raises:
        InputError: It holds no training, or was trained with other settings.
    """
    refuse_foreign_shapes(path, checkpoint)
    if "loops" not in checkpoint:
        raise InputError(
            f"{path}: holds a model that `grulight port` wrote and no training to continue. Train "
            f"it with {option('model.weights')}, or {option('model.from_keras')} and the Keras "
            "file."
        )
    try:
        CONTINUED.check(checkpoint, "")
        require_consistent_progress(checkpoint)
    except Unfit as error:
        raise damaged(path, str(error)) from None
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    cut = epochs["processed"] == epochs["started"] and not ended_epoch(checkpoint)
    if cut and not 0 <= max_steps <= checkpoint["global_step"]:
        raise InputError(
            f"{path}: a limit ended it within epoch {checkpoint['epoch'] + 1}, which Lightning "
            "counts as done. Continue from a step_….ckpt or a run without "
            f"{option('trainer.max_steps')}."
        )
    _require_same_settings(path, checkpoint, module)
    require_weights(path, module.state_dict(), checkpoint["state_dict"])
    try:
        require_training_state(checkpoint, module)
    except Unfit as error:
        if checkpoint.get("optimization") is not None and module.optimization is not None:
            raise damaged(path, str(error)) from None
        raise InputError(
            f"{path}: was trained with another optimizer than this run has: {str(error)[:300]}. "
            "Give it the same optimizer and lr_scheduler to continue, or start anew with "
            f"{option('model.weights')}."
        ) from None


def _require_same_settings(
    path: str | Path, checkpoint: Checkpoint, module: LightningModule
) -> None:
    ours: Mapping[str, Any] | None = module.optimization  # type: ignore[assignment]
    theirs = checkpoint.get("optimization", ours)
    if None not in (ours, theirs) and theirs != ours:
        raise InputError(
            f"{path}: was trained with {_short(theirs)}, this run has {_short(ours)}. Give it the "
            "same optimizer and lr_scheduler to continue, or start anew with "
            f"{option('model.weights')}."
        )
    for name, was in checkpoint["hyper_parameters"].items():
        now = module.hparams.get(name)
        if name not in _FREE and _plain(now) != _plain(was):
            raise InputError(
                f"{path}: was trained with {name}={_short(was)}, this run has {name}={_short(now)}."
                " Give it the same data and model settings to continue, or start anew with "
                f"{option('model.weights')}."
            )


def require_consistent_progress(checkpoint: Checkpoint) -> None:
    """Check that what is counted twice is counted alike.

    Raises:
        Unfit: It is not.
    """
    loop = checkpoint["loops"]["fit_loop"]
    epochs = loop["epoch_progress"]
    steps = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    by_hand = loop.get("epoch_loop.manual_optimization.optim_step_progress", steps)
    if checkpoint["global_step"] not in (each["total"]["completed"] for each in (steps, by_hand)):
        raise Unfit(f"its global_step {checkpoint['global_step']} is not what its loops count")
    if checkpoint["epoch"] not in (epochs["current"]["completed"], epochs["current"]["processed"]):
        raise Unfit(f"its epoch {checkpoint['epoch']} is not what its loops count")
    for served in loop.get("state_dict", {}).get("combined_loader", ()):
        ours = served.keys() >= {"batch", "sequences", "batch_size"}
        if ours and served["batch"] > -(-served["sequences"] // served["batch_size"]):
            raise Unfit(f"its epoch has served {served['batch']} batches, more than there are")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]} …"


def ended_epoch(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint was written at the end of an epoch."""
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    return bool(batches["is_last_batch"])


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
