"""Checkpoints: written whole or not at all, read without running anything in them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from grulight.errors import InputError
from grulight.files import written_whole
from grulight.task import FORMAT, GRUClassifier

Checkpoint = dict[str, Any]


class WholeCheckpointIO(TorchCheckpointIO):
    """Save beside the target and rename; load tensors and plain values only.

    Lightning's own writer goes through ``$TMPDIR``, which on a cluster is another file system
    than the run directory: its last step is then a copy that can be cut off half-way.
    """

    def save_checkpoint(
        self, checkpoint: Checkpoint, path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint under its name once it is complete."""
        with written_whole(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> Checkpoint:
        """Read a checkpoint; ``weights_only=False`` is not honoured, nothing here needs it."""
        return read_checkpoint(path)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint that grulight wrote, with ``weights_only=True``, to the CPU.

    Raises:
        InputError: The file is missing, truncated, or a checkpoint of something else.
    """
    if not Path(path).is_file():
        kind = "is a directory" if Path(path).is_dir() else "does not exist"
        raise InputError(f"{path}: {kind}; expected a checkpoint such as last.ckpt of a run.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load meets a damaged or foreign file with any of a dozen exception types
    except Exception as error:
        raise InputError(
            f"{path}: cannot be read as a checkpoint (truncated, or of another kind). "
            "Choose a file that `grulight fit` wrote."
        ) from error
    if not isinstance(checkpoint, dict) or "grulight_format" not in checkpoint:
        raise InputError(
            f"{path}: is not a grulight checkpoint (no key 'grulight_format'). "
            "Choose a file that `grulight fit` wrote."
        )
    if checkpoint["grulight_format"] != FORMAT:
        raise InputError(
            f"{path}: has checkpoint format {checkpoint['grulight_format']}, this grulight reads "
            f"format {FORMAT}. Use the grulight that wrote it."
        )
    return checkpoint


def refuse_foreign_shapes(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint of a Keras model that does not go from one sequence to its answers.

    Raises:
        InputError: It is one.
    """
    if "keras_model" in checkpoint:
        raise InputError(f"{path}: {checkpoint['why_python_only']}")


def load_classifier(path: str | os.PathLike[str]) -> GRUClassifier:
    """Return the trained classifier of a checkpoint file, ready to predict.

    Raises:
        InputError: See :func:`read_checkpoint` and :func:`refuse_foreign_shapes`; or weights are
            missing, or of other shapes than the description says.
    """
    checkpoint = read_checkpoint(path)
    refuse_foreign_shapes(path, checkpoint)
    try:
        classifier = GRUClassifier(**checkpoint["hyper_parameters"])
        classifier.load_state_dict(checkpoint["state_dict"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: is a damaged checkpoint, its weights do not fit its description ({reason}). "
            "Choose a file that `grulight fit` wrote."
        ) from error
    return classifier.eval()
