"""What is checked: a checkpoint's network, its weights and sequences to run it on."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from grulight.data.datamodule import SequenceDataModule
from grulight.data.sequences import Sequences
from grulight.errors import InputError
from grulight.heads import ValueHead
from grulight.model import GRUNet
from grulight.runs.checkpoint import load_classifier, offset_settings
from grulight.trace.run_data import data_settings
from grulight.training.classifier import GRUClassifier
from grulight.training.compiled_network import task_of
from parity.question import Answer, Arrays, Network, Question
from parity.questions_by_rung import questions_about
from parity.sides.quiet import without_warnings
from parity.sides.torch_network import fresh_network, sizes_of, weights_of

# 800 sequences in batches of 32 for five epochs are the 125 steps of the default training.
SEQUENCES = 800
KERAS_SUFFIXES = {".keras", ".h5", ".hdf5"}


@dataclass(frozen=True)
class Target:
    """A network with all that a check of it needs; numbers in float64, exact in float32.

    Attributes:
        name: What to call it.
        network: Sizes.
        weights: Its ``state_dict``.
        start: Fresh weights as Keras draws them, where trainings start.
        data: ``values``, ``labels`` and, where sequences differ in length, ``lengths``.
        held_out: The same of the test part, for rung 6; may be empty.
        source: What the data are.
        notes: What a reader of the result should know.
    """

    name: str
    network: Network
    weights: Arrays
    start: Arrays
    data: Arrays
    held_out: Arrays
    source: str
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of the weights, names and shapes included."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            array = self.weights[name].astype("<f4")
            digest.update(f"{name} {array.shape}\n".encode() + array.tobytes())
        return digest.hexdigest()

    def questions(self, stride: int = 1) -> list[Question]:
        """Return every question of rungs 0 to 5."""
        return questions_about(
            self.network, self.weights, self.data, self.start, self.source, stride
        )


def target_of(
    network: GRUNet,
    name: str,
    train: Sequences,
    test: Sequences | None = None,
    answer: Answer = "classes",
) -> Target:
    """Describe a network and its data, already standardised, as a target."""
    sizes = sizes_of(network, answer)
    part = train.part(0, min(len(train), SEQUENCES))
    notes = []
    if len(part) < len(train):
        notes.append(f"Trained on the first {len(part)} of {len(train)} sequences.")
    if network.dropout.p:
        notes.append(
            f"Dropout ({network.dropout.p}) is off: two frameworks cannot draw the same masks."
        )
    return Target(
        name,
        sizes,
        weights_of(network),
        weights_of(fresh_network(sizes)),
        _data(part),
        _data(test) if test is not None and len(test) else {},
        train.source,
        tuple(notes),
    )


def load_target(path: str, data: str | None = None) -> Target:
    """Read a checkpoint and the sequences to run it on.

    Args:
        path: A checkpoint of ``grulight fit``.
        data: Where sequences come from, as ``--data.source``; by default what the run's
            ``config.yaml`` says, else ``waves``.

    Raises:
        InputError: The checkpoint or the data cannot be read, or do not fit each other.
    """
    if Path(path).suffix.lower() in KERAS_SUFFIXES:
        raise InputError(
            f"{path}: is a Keras file; expected a checkpoint. `parity check {path}` compares it."
        )
    with without_warnings():
        classifier = load_classifier(path)
    network, head = classifier.network, classifier.head
    task = task_of(head)
    if not isinstance(network, GRUNet) or task is None:
        raise InputError(f"{path}: holds a ported Keras model; check a checkpoint of a GRUNet.")
    expected = {
        "targets": "classes" if head.num_classes else "values",
        "per_step": head.per_step,
        "features": list(classifier.feature_names),
        **offset_settings(classifier),
    }
    if head.num_classes:
        expected["class_names"] = list(classifier.class_names)
    parts = SequenceDataModule(**data_settings(Path(path), data) | expected).parts
    if len(parts.train.feature_names) != network.gru.input_size:
        raise InputError(
            f"{parts.train.source}: has {len(parts.train.feature_names)} features, {path} reads "
            f"{network.gru.input_size}. Name fitting data with --data."
        )
    train, test = (standardised(classifier, part) for part in (parts.train, parts.test))
    found = target_of(network, path, train, test, task.answer)
    found = replace(found, notes=(*found.notes, *_of_the_loss(classifier)))
    if isinstance(head, ValueHead) and head.scale:
        note = "Values are compared as the network answers: less their mean, by their deviation."
        found = replace(found, notes=(*found.notes, note))
    return found


def _of_the_loss(classifier: GRUClassifier) -> Iterator[str]:
    """Yield what the training's loss had that no rung's has."""
    settings = classifier.hparams
    names = ("label_smoothing", "class_weight")
    if given := [f"{name} {settings[name]}" for name in names if settings.get(name)]:
        yield f"Rungs 2 to 5 take the loss without {' and '.join(given)}."


def standardised(classifier: GRUClassifier, part: Sequences) -> Sequences:
    """Return sequences as the network sees them."""
    with torch.no_grad():
        values = classifier.standardized(torch.tensor(np.asarray(part.values)))
    labels = part.labels
    if isinstance(classifier.head, ValueHead) and labels is not None:
        labels = classifier.head.scaled(torch.tensor(labels), torch.float32).numpy()
    return replace(part, values=values.numpy(), labels=labels)


def _data(part: Sequences) -> Arrays:
    assert part.labels is not None
    values = np.asarray(part.values, np.float32).astype(np.float64)
    labels = part.labels
    data = {"values": values, "labels": labels if part.class_names else labels.astype(np.float64)}
    if (part.lengths < values.shape[1]).any():
        data["lengths"] = part.lengths
    return data
