"""Which checkpoint a run goes on from, and whether it can."""

from collections.abc import Callable
from pathlib import Path

from lightning.pytorch import Trainer

from grulight.checkpoint import Checkpoint, read_checkpoint, refuse_foreign_shapes
from grulight.errors import InputError
from grulight.run_directory import RUNS, number_of
from grulight.task import GRUClassifier

_FREE = ("init", "kernel", "steps_per_execution")  # what does not change the training


def newest_checkpoint(root: str | Path, warn: Callable[[str], None]) -> Path | None:
    """Return the newest readable checkpoint of the newest run under ``root`` that has any.

    A damaged one, which a crash of the file system may leave, is passed over, and told to ``warn``.

    Raises:
        InputError: None of that run's checkpoints can be read.
    """
    runs = sorted(Path(root, RUNS).glob("version_*"), key=number_of, reverse=True)
    for run in runs:
        found = sorted(filter(_is_ours, run.glob("checkpoints/*.ckpt")), key=_age, reverse=True)
        for path in found:
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


def _is_ours(path: Path) -> bool:
    """Return whether this is no callback's of the user, and no file that was never finished."""
    return path.name in ("last.ckpt", "best.ckpt") or path.name.startswith("step_")


def _age(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name


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
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    cut = epochs["processed"] == epochs["started"] and not ended_epoch(checkpoint)
    if cut and not 0 <= max_steps <= checkpoint["global_step"]:
        raise InputError(
            f"{path}: a limit ended it within epoch {checkpoint['epoch'] + 1}, which Lightning "
            "counts as done. Continue from a step_….ckpt or a run without --trainer.max_steps."
        )
    if checkpoint["optimization"] != classifier.optimization:
        raise InputError(
            f"{path}: was trained with {checkpoint['optimization']}, this run has "
            f"{classifier.optimization}. Give it the same optimizer and lr_scheduler to continue."
        )
    for name, was in checkpoint["hyper_parameters"].items():
        now = classifier.hparams[name]
        if name not in _FREE and _plain(now) != _plain(was):
            raise InputError(
                f"{path}: was trained with {name}={was}, this run has {name}={now}. "
                "Give it the same data and model settings to continue."
            )
    return checkpoint


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
