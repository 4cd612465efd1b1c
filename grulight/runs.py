"""A run again from its checkpoint: the classifier, its data, its epochs."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from grulight.checkpoint import Checkpoint, load_classifier, read_checkpoint
from grulight.data.datamodule import Parts, SequenceDataModule
from grulight.errors import InputError
from grulight.task import GRUClassifier
from grulight.trace.recorder import Epoch, TraceRecorder, observe
from grulight.wanted import Wanted


class Run(NamedTuple):
    """What a checkpoint came from."""

    classifier: GRUClassifier
    parts: Parts
    epochs: list[Epoch]


def load_run(path: Path, source: str | None = None) -> Run:
    """Read a checkpoint, the data it was trained on, and what its training recorded.

    Args:
        path: A checkpoint that ``grulight fit`` or ``grulight port`` wrote.
        source: Where sequences come from, as ``--data.source``; by default what the run's
            ``config.yaml`` says, else ``waves``.

    Raises:
        InputError: The checkpoint or the data cannot be read, or do not fit each other.
    """
    classifier = load_classifier(path)
    head, known = classifier.head, classifier.hparams
    data = SequenceDataModule(**data_settings(path, source) | _as_answered(classifier))
    theirs = Wanted(data.input_size, data.num_classes, data.num_values, data.per_step)
    values = 0 if head.num_classes else head.size
    ours = Wanted(known["input_size"], head.num_classes, values, head.per_step)
    if theirs != ours:
        raise InputError(
            f"{data.source}: has {theirs.input_size} features and {theirs.words}, {path} reads "
            f"{ours.input_size} and answers with {head.words}. Name fitting data with --data."
        )
    return Run(classifier, data.parts, _epochs(path, read_checkpoint(path), head.metric))


def _as_answered(classifier: GRUClassifier) -> dict[str, Any]:
    """Return settings with which data are read as the classifier answers."""
    head, names = classifier.head, classifier.hparams["class_names"]
    settings: dict[str, Any] = {
        "targets": "classes" if head.num_classes else "values",
        "per_step": head.per_step,
    }
    if head.num_classes and names is not None:  # a model ported from Keras may know none
        settings["class_names"] = list(names)
    elif head.num_classes:
        settings["num_classes"] = head.num_classes
    if classifier.hparams["feature_names"] is not None:
        settings["features"] = list(classifier.feature_names)
    return settings


def data_settings(path: Path, source: str | None = None) -> dict[str, Any]:
    """Return what the run's own config says of its data, or what the user names.

    Raises:
        InputError: There is a config that cannot be read.
    """
    if source is not None:
        return {"source": source}
    config = path.resolve().parent.parent / "config.yaml"
    if not config.is_file():
        return {}
    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"{config}: cannot be read; name the data with --data.") from error
    return dict(settings)


def _epochs(path: Path, checkpoint: Checkpoint, metric: str) -> list[Epoch]:
    """Return the epochs up to the checkpoint; a training without our recorder left a table."""
    recorder = TraceRecorder()
    if state := checkpoint.get("callbacks", {}).get(TraceRecorder.__name__):
        recorder.load_state_dict(state)
        return recorder.epochs
    table = path.resolve().parent.parent / "metrics.csv"
    if "epoch" not in checkpoint or not table.is_file():
        return []
    return _epochs_of_table(table, checkpoint["epoch"] + 1, metric)


def _epochs_of_table(table: Path, last: int, metric: str) -> list[Epoch]:
    found: dict[int, dict[str, float]] = {}
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            metrics = found.setdefault(int(row["epoch"]) + 1, {})
            given = {k: float(v) for k, v in row.items() if v and k.startswith(("train_", "val_"))}
            metrics |= given
    epochs: list[Epoch] = []
    for number, metrics in sorted(found.items()):
        if number <= last and {"train_loss", f"train_{metric}"} <= metrics.keys():
            before = epochs[-1].metrics if epochs else None
            epochs.append(Epoch(number, metrics, observe(metrics, before)))
    return epochs
