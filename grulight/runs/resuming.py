"""Which checkpoint a run goes on from, and whether it can."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from grulight.checkpoint_files.reader import (
    Checkpoint,
    read_checkpoint,
    structure,
)
from grulight.errors import InputError
from grulight.runs.run_directory import RUNS, number_of
from grulight.training.classifier import GRUClassifier
from grulight.training.continuing import require_continued


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

    Raises:
        InputError: See :func:`grulight.training.continuing.require_continued`.
    """
    checkpoint = read_checkpoint(path)
    require_continued(path, checkpoint, classifier, max_steps)
    return checkpoint


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
