"""Which checkpoint a run goes on from, and whether it can."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from grulight.checkpoint import (
    Checkpoint,
    damaged,
    read_checkpoint,
    refuse_foreign_shapes,
    require_weights,
    structure,
)
from grulight.checkpoint_format import CONTINUED
from grulight.checkpoint_rules import Unfit
from grulight.errors import InputError
from grulight.run_directory import RUNS, number_of
from grulight.task import GRUClassifier
from grulight.training_state import require_training_state

_FREE = ("init", "kernel", "steps_per_execution")  # what does not change the training


def newest_checkpoint(root: str | Path, warn: Callable[[str], None]) -> Path | None:
    """Return the readable checkpoint of the newest run under ``root`` that has trained furthest.

    Its steps count, not the time of its file: the clocks of two machines may differ. A damaged one,
    which a crash of the file system may leave, is passed over, and told to ``warn``.

    Raises:
        InputError: None of that run's checkpoints can be read, or the directory cannot.
    """
    for run in sorted(_runs(Path(root, RUNS)), key=number_of, reverse=True):
        furthest: list[tuple[int, int, str]] = []
        found = list(filter(_is_ours, run.glob("checkpoints/*.ckpt")))
        for path in found:
            try:
                steps = structure(path).get("global_step", 0)
                furthest.append((_count(steps), path.stat().st_mtime_ns, path.name))
            except InputError as error:
                warn(f"passed over: {error}")
        for _, _, name in sorted(furthest, reverse=True):
            path = run / "checkpoints" / name
            try:
                read_checkpoint(path)
            except InputError as error:
                warn(f"passed over: {error}")
            else:
                return path
        if found:
            raise InputError(
                f"{run}: none of its {len(found)} checkpoints can be read. Start afresh without "
                "--ckpt_path, or in another --trainer.default_root_dir."
            )
    return None


def _runs(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if number_of(path) >= 0]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            f"{directory}: cannot be read ({error.strerror}), so no run can go on there. Choose "
            "another --trainer.default_root_dir."
        ) from error


def _count(steps: Any) -> int:
    return steps if type(steps) is int else 0  # a damaged checkpoint, which is then read and told


def _is_ours(path: Path) -> bool:
    """Return whether this is no callback's of the user, and no file that was never finished."""
    return path.name in ("last.ckpt", "best.ckpt") or path.name.startswith("step_")


def require_continuable(path: Path, classifier: GRUClassifier, max_steps: int = -1) -> Checkpoint:
    """Check that a run can go on from a checkpoint before Lightning tries; return it.

    A run that has reached ``max_steps`` may be asked to go on: it has nothing left to train.

    Raises:
        InputError: It holds no training, or was trained with other settings.
    """
    checkpoint = read_checkpoint(path)
    refuse_foreign_shapes(path, checkpoint)
    if "loops" not in checkpoint:
        raise InputError(
            f"{path}: holds a model that `grulight port` wrote and no training to continue. Train "
            "it with --model.from_keras and the Keras file."
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
            "counts as done. Continue from a step_….ckpt or a run without --trainer.max_steps."
        )
    optimization = checkpoint.get("optimization", classifier.optimization)
    if optimization != classifier.optimization:
        raise InputError(
            f"{path}: was trained with {_short(optimization)}, this run has "
            f"{_short(classifier.optimization)}. Give it the same optimizer and lr_scheduler to "
            "continue."
        )
    for name, was in checkpoint["hyper_parameters"].items():
        now = classifier.hparams.get(name)
        if name not in _FREE and _plain(now) != _plain(was):
            raise InputError(
                f"{path}: was trained with {name}={_short(was)}, this run has {name}={_short(now)}."
                " Give it the same data and model settings to continue."
            )
    require_weights(path, classifier.state_dict(), checkpoint["state_dict"])
    try:
        require_training_state(checkpoint, classifier)
    except Unfit as error:
        raise damaged(path, str(error)) from None
    return checkpoint


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


def require_epochs_left(path: Path, checkpoint: Checkpoint, trainer: Trainer) -> None:
    """Check that training from a checkpoint has anything left to do.

    Raises:
        InputError: It has finished all epochs.
    """
    done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= done:
        raise InputError(
            f"{path}: has finished {done} of {trainer.max_epochs} epochs; nothing is left to "
            f"train. Ask for more with --trainer.max_epochs, such as {2 * done}."
        )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
