"""A ported Keras model as a checkpoint."""

from pathlib import Path
from typing import Any

import torch

from grulight.checkpoint_files.reader import FORMAT
from grulight.errors import InputError, option
from grulight.files import written_whole
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.ported_network import PortedNetwork
from grulight.training.classifier import GRUClassifier


def write_checkpoint(
    model: PortedModel,
    path: str | Path,
    class_names: list[str] | None = None,
    feature_names: list[str] | None = None,
) -> str | None:
    """Write a ported model as a checkpoint that ``grulight.load_keras`` reads.

    Returns:
        None where ``grulight test``, ``predict`` and the others take it too; else why not: the
        model does not go from one sequence to its answers.

    Raises:
        InputError: The names do not fit the model, or the file cannot be written.
    """
    try:
        network = PortedNetwork(model)
    except InputError as reason:
        if class_names or feature_names:
            raise
        held = {"keras_model": dict(model.description), "why_python_only": str(reason)}
        _write(path, held | {"state_dict": model.state_dict()})
        return str(reason)
    head = network.head
    sizes = {"class_names": head.num_names, "feature_names": network.input_size}
    for key, names in (("class_names", class_names), ("feature_names", feature_names)):
        if names is not None and len(names) != sizes[key]:
            raise InputError(f"{option(key)}: got {len(names)} names, expected {sizes[key]}.")
    classifier = GRUClassifier(
        network.input_size,
        head.num_classes,
        num_values=0 if head.num_classes else head.size,
        per_step=head.per_step,
        class_names=class_names,
        feature_names=feature_names,
        from_keras=dict(network.description),
    )
    classifier.network.load_state_dict(network.state_dict())
    held = {"hyper_parameters": dict(classifier.hparams), "state_dict": classifier.state_dict()}
    _write(path, held)
    return None


def _write(path: str | Path, held: dict[str, Any]) -> None:
    with written_whole(path) as temporary:
        torch.save({"grulight_format": FORMAT, **held}, temporary)
