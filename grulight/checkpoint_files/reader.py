"""A checkpoint's bytes become what it holds, checked; nothing in them is run."""

import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grulight.checkpoint_files.archive import read_structure
from grulight.checkpoint_files.format import CALLBACKS, CHECKPOINT
from grulight.checkpoint_files.rules import Unfit, shown
from grulight.checkpoint_files.unreadable import Unreadable
from grulight.errors import InputError
from grulight.files import IS_ADDRESS, is_address

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1  # of our checkpoints; counts up when an older grulight could not read them
CHOOSE = "Choose a file that `grulight fit` wrote."

Checkpoint = dict[str, Any]


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint that grulight wrote, with ``weights_only=True``, to the CPU.

    What it holds is as :mod:`grulight.checkpoint_files.format` says; nothing larger than the file
    is allocated.

    Raises:
        InputError: The file is missing, damaged, or a checkpoint of something else.
    """
    import torch

    structure(path)
    try:
        checkpoint: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load meets a damaged or foreign file with any of a dozen exception types
    except Exception as error:
        raise _unreadable(path, "truncated, or of another kind") from error
    require_known(path, checkpoint)
    return checkpoint


def require_known(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Check what a checkpoint holds; stand-ins for tensors are as good as these.

    Raises:
        InputError: It is not as :mod:`grulight.checkpoint_files.format` says.
    """
    try:
        CHECKPOINT.check(checkpoint, "")
        for key, state in checkpoint.get("callbacks", {}).items():
            for name, rule in CALLBACKS.items():
                if isinstance(key, str) and key.startswith(name):
                    rule.check(state, f"callbacks.{name.rstrip('(')}")
    except Unfit as error:
        raise damaged(path, str(error)) from None


def structure(path: str | os.PathLike[str]) -> Checkpoint:
    """Return what a checkpoint of grulight holds, with stand-ins for tensors, at little cost.

    Raises:
        InputError: The file is missing, or no checkpoint of grulight.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "is a directory" if stat.S_ISDIR(mode) else "is no file"
            raise InputError(f"{path}: {kind}; expected a checkpoint such as last.ckpt of a run.")
        held = read_structure(Path(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        expected = "does not exist; expected a checkpoint such as last.ckpt of a run."
        said = IS_ADDRESS if is_address(path) else expected
        raise InputError(f"{path}: {said}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}). Choose another.") from error
    except Unreadable as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(held, dict) or "grulight_format" not in held:
        raise InputError(
            f"{path}: is not a grulight checkpoint (no key 'grulight_format'). {CHOOSE}"
        )
    if (version := held["grulight_format"]) != FORMAT:
        raise InputError(
            f"{path}: has checkpoint format {shown(version)}, this grulight reads format {FORMAT}. "
            "Use the grulight that wrote it."
        )
    return held


def _unreadable(path: str | os.PathLike[str], reason: str) -> InputError:
    return InputError(f"{path}: cannot be read as a checkpoint ({reason}). {CHOOSE}")


def read_described(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, "Tensor"]]:
    """Return the arguments of a checkpoint's classifier, and its weights by name.

    Raises:
        InputError: It cannot be read, or lacks one of them.
    """
    return described(path, read_checkpoint(path))


def described(
    path: str | os.PathLike[str], checkpoint: Checkpoint
) -> tuple[dict[str, Any], dict[str, "Tensor"]]:
    """Return the arguments of the classifier of a checkpoint that was read, and its weights.

    Raises:
        InputError: It lacks one of them.
    """
    refuse_foreign_shapes(path, checkpoint)
    for key in ("hyper_parameters", "state_dict"):
        if key not in checkpoint:
            raise damaged(path, f"it lacks {key!r}")
    return checkpoint["hyper_parameters"], checkpoint["state_dict"]


def damaged(path: str | os.PathLike[str], reason: str) -> InputError:
    """Return the refusal of a checkpoint that grulight cannot have written so."""
    return InputError(f"{path}: is a damaged checkpoint, {reason[:300]}. {CHOOSE}")


def refuse_foreign_shapes(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint of a Keras model that does not go from one sequence to its answers.

    Raises:
        InputError: It is one.
    """
    if "keras_model" in checkpoint:
        reason = checkpoint.get("why_python_only", "a Keras model that Python alone runs")
        raise InputError(f"{path}: {reason[:400]}")


def require_weights(
    path: str | os.PathLike[str], expected: Mapping[str, "Tensor"], held: Mapping[str, "Tensor"]
) -> None:
    """Check that weights are those of a model, and finite.

    Args:
        path: Where they are from, for messages.
        expected: The model's ``state_dict``, on any device.
        held: The file's.

    Raises:
        InputError: Names, shapes or kinds differ, or a number is not finite.
    """
    for name in [*expected.keys() - held.keys(), *held.keys() - expected.keys()][:1]:
        what = "lacks" if name in expected else "has no place for"
        raise damaged(path, f"its weights do not fit its description, which {what} {name[:80]!r}")
    for name, weight in held.items():
        like = expected[name]
        if weight.shape != like.shape or weight.is_floating_point() != like.is_floating_point():
            raise damaged(
                path,
                f"its weights do not fit its description: {name} is {shown(weight)}, expected "
                f"{tuple(like.shape)}",
            )
        if not weight.isfinite().all():
            raise InputError(
                f"{path}: {name} is not finite; such networks compute nothing. Choose a "
                "checkpoint from before its training diverged."
            )
    if "scale" in held and not held["scale"].all():
        raise damaged(path, "its scale has a zero")


def require_described(
    path: str | os.PathLike[str], description: dict[str, Any], state: Mapping[str, "Tensor"]
) -> None:
    """Check that a Keras model's description needs no more numbers than a checkpoint has.

    Raises:
        InputError: It does.
    """
    needed, held = _numbers(description["shapes"]), sum(each.numel() for each in state.values())
    if needed > held:
        raise damaged(
            path, f"its weights do not fit its description: {held} numbers, expected {needed}"
        )


def _numbers(shapes: dict[str, Any]) -> int:
    return sum(
        _numbers(held) if isinstance(held, dict) else math.prod(held) for held in shapes.values()
    )
