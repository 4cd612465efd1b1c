"""Checkpoints: written whole or not at all, read without running anything in them."""

import math
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from grulight.checkpoint_archive import Unreadable, declared
from grulight.checkpoint_format import CALLBACKS, CHECKPOINT
from grulight.checkpoint_rules import Unfit, shown
from grulight.errors import InputError
from grulight.files import written_whole
from grulight.model import GRUNet
from grulight.task import FORMAT, GRUClassifier

Checkpoint = dict[str, Any]
CHOOSE = "Choose a file that `grulight fit` wrote."


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

    What it holds is as :mod:`grulight.checkpoint_format` says; nothing larger than the file is
    allocated.

    Raises:
        InputError: The file is missing, damaged, or a checkpoint of something else.
    """
    structure(path)
    try:
        checkpoint: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load meets a damaged or foreign file with any of a dozen exception types
    except Exception as error:
        raise _unreadable(path, "truncated, or of another kind") from error
    try:
        CHECKPOINT.check(checkpoint, "")
        for key, state in checkpoint.get("callbacks", {}).items():
            for name, rule in CALLBACKS.items():
                if isinstance(key, str) and key.startswith(name):
                    rule.check(state, f"callbacks.{name.rstrip('(')}")
    except Unfit as error:
        raise damaged(path, str(error)) from None
    return checkpoint


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
        held = declared(Path(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{path}: does not exist; expected a checkpoint such as last.ckpt of a run."
        ) from error
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
    path: str | os.PathLike[str], expected: Mapping[str, Tensor], held: Mapping[str, Tensor]
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


def load_classifier(path: str | os.PathLike[str]) -> GRUClassifier:
    """Return the trained classifier of a checkpoint file, ready to predict.

    Raises:
        InputError: See :func:`read_checkpoint` and :func:`refuse_foreign_shapes`; or weights are
            missing, not finite, or of other shapes than the description says.
    """
    checkpoint = read_checkpoint(path)
    refuse_foreign_shapes(path, checkpoint)
    for key in ("hyper_parameters", "state_dict"):
        if key not in checkpoint:
            raise damaged(path, f"it lacks {key!r}")
    state, settings = checkpoint["state_dict"], checkpoint["hyper_parameters"]
    _require_sizes(path, settings, state)
    try:
        classifier = GRUClassifier(**settings)
    except TypeError as error:  # an argument of a class of the user's
        raise damaged(path, f"its description is of another model ({error})") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if len(classifier.class_names) != classifier.head.num_names:
        raise damaged(path, f"it has {len(classifier.class_names)} names for its answers")
    require_weights(path, classifier.state_dict(), state)
    classifier.load_state_dict(state)
    return classifier.eval()


def _require_sizes(
    path: str | os.PathLike[str], settings: dict[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Check a description's sizes with the weights that are there, before any is allocated.

    Raises:
        InputError: They differ.
    """
    features, classes = settings["input_size"], settings["num_classes"]
    for name in ("feature_names", "mean", "scale"):
        held = settings.get(name)
        if held is not None and len(held) != features:
            raise damaged(path, f"it has {len(held)} of {name} for {features} features")
    if settings.get("from_keras") is not None:
        require_described(path, settings["from_keras"], state)
        return
    names = settings.get("class_names")
    if classes < 2 or (names and len(names) != classes):
        raise damaged(path, f"it has {len(names or ())} class names for {classes} classes")
    sizes = {"hidden_size": 16, "num_layers": 1, "bidirectional": False, "bias": True} | settings
    network = {name for name in state if name.startswith("network.")}
    if sizes["num_layers"] > len(network):
        raise damaged(path, f"its weights do not fit num_layers={sizes['num_layers']}")
    try:
        with torch.device("meta"):
            expected = GRUNet(
                features,
                1 if classes == 2 else classes,
                **{name: sizes[name] for name in ("hidden_size", "num_layers")},
                bidirectional=sizes["bidirectional"],
                bias=sizes["bias"],
            ).state_dict()
    except RuntimeError as error:  # sizes that no number of bytes holds
        raise damaged(path, "its weights do not fit its description") from error
    require_weights(
        path,
        {f"network.{name}": each for name, each in expected.items()},
        {name: state[name] for name in network},
    )


def require_described(
    path: str | os.PathLike[str], description: dict[str, Any], state: Mapping[str, Tensor]
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
