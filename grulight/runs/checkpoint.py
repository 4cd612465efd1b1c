"""Checkpoints: written whole or not at all, and opened as the classifier that was trained."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from grulight.checkpoint_files.reader import (
    Checkpoint,
    damaged,
    described,
    read_checkpoint,
    require_described,
    require_weights,
)
from grulight.data.readers.targets import Kind
from grulight.errors import InputError
from grulight.files import written_whole
from grulight.model import GRUNet
from grulight.runs.trained_on import trained_on
from grulight.training.classifier import GRUClassifier


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


def load_classifier(path: str | os.PathLike[str]) -> GRUClassifier:
    """Return the trained classifier of a checkpoint file, ready to predict.

    Raises:
        InputError: See :func:`read_checkpoint` and :func:`refuse_foreign_shapes`; or weights are
            missing, not finite, or of other shapes than the description says.
    """
    return classifier_in(path, read_checkpoint(path))


def classifier_in(path: str | os.PathLike[str], checkpoint: Checkpoint) -> GRUClassifier:
    """Return the trained classifier of a checkpoint that was read; see ``load_classifier``."""
    settings, state = described(path, checkpoint)
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
    classifier.windows = trained_on(checkpoint).windows
    return classifier.eval()


def offset_settings(classifier: GRUClassifier) -> dict[str, Any]:
    """Return arguments of the data module with which it subtracts what the training did."""
    return {"offset": classifier.hparams["offset"], "standardize": False}


def kind_of_targets(classifier: GRUClassifier) -> Kind:
    """Return what the data module takes labels for, so that they are what the model answers.

    Those of a ported model that says which labels hold may lie between 0 and 1, as in Keras.
    """
    if classifier.head.num_classes:
        return "classes"
    return "labels" if classifier.hparams["multilabel"] else "values"


def _require_sizes(
    path: str | os.PathLike[str], settings: dict[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Check a description's sizes with the weights that are there, before any is allocated.

    Raises:
        InputError: They differ.
    """
    features, classes = settings["input_size"], settings["num_classes"]
    for name in ("feature_names", "offset", "mean", "scale"):
        held = settings.get(name)
        if held is not None and len(held) != features:
            raise damaged(path, f"it has {len(held)} of {name} for {features} features")
    if settings.get("from_keras") is not None:
        require_described(path, settings["from_keras"], state)
        return
    values = settings.get("num_values", 0)
    names = settings.get("class_names")
    if values:
        for name in ("class_names", "target_mean", "target_scale"):
            held = settings.get(name)
            if held and len(held) != values:
                raise damaged(path, f"it has {len(held)} of {name} for {values} values")
    elif classes < 2 or (names and len(names) != classes):
        raise damaged(path, f"it has {len(names or ())} class names for {classes} classes")
    sizes = {"hidden_size": 16, "num_layers": 1, "bidirectional": False, "bias": True} | settings
    network = [name for name in state if name.startswith("network.")]
    if sizes["num_layers"] > len(network):
        raise damaged(path, f"its weights do not fit num_layers={sizes['num_layers']}")
    try:
        with torch.device("meta"):
            expected = GRUNet(
                features,
                values or (1 if classes == 2 else classes),
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
