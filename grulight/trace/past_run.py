"""A run again from its checkpoint: the classifier, its data, its epochs."""

import csv
import math
from pathlib import Path
from typing import Any, NamedTuple

from grulight.checkpoint_files.reader import Checkpoint, read_checkpoint
from grulight.data.datamodule import SequenceDataModule
from grulight.data.splitting import Parts
from grulight.errors import InputError
from grulight.runs.checkpoint import kind_of_targets, load_classifier, offset_settings
from grulight.runs.trained_on import trained_on
from grulight.trace.baseline import Baseline, baseline_of
from grulight.trace.recorder import Epoch, TraceRecorder, observe
from grulight.trace.run_data import data_settings
from grulight.training.classifier import GRUClassifier
from grulight.training.data_spec import DataSpec


class Run(NamedTuple):
    """What a checkpoint came from."""

    classifier: GRUClassifier
    parts: Parts
    epochs: list[Epoch]
    notes: list[str]  # what a user should know of the data


def load_run(path: Path, source: str | None = None) -> Run:
    """Read a checkpoint, the data it was trained on, and what its training recorded.

    Args:
        path: A checkpoint that ``grulight fit`` or ``grulight port`` wrote.
        source: Where sequences come from, as ``--data.source``; by default what the run's
            ``config.yaml`` says, else ``waves``.

    Raises:
        InputError: The checkpoint or the data cannot be read, or do not fit each other.
    """
    classifier, checkpoint = load_classifier(path), read_checkpoint(path)
    head, known = classifier.head, classifier.hparams
    remembered = trained_on(checkpoint)
    settings: dict[str, Any] = data_settings(path, source)
    if not settings:
        remembered.require_named("--data")
    as_then = remembered.settings_for(settings.get("source"), settings.get("test_source"))
    data = SequenceDataModule(**as_then | settings | _as_trained(classifier))
    sizes = (data.input_size, data.num_classes, data.num_values, data.per_step)
    theirs = DataSpec(*sizes, multilabel=data.multilabel)
    values = 0 if head.num_classes else head.size
    labels = kind_of_targets(classifier) == "labels"
    ours = DataSpec(known["input_size"], head.num_classes, values, head.per_step, labels)
    if theirs != ours:
        raise InputError(
            f"{data.source}: has {theirs.input_size} features and {theirs.head.words}, {path} "
            f"reads {ours.input_size} and answers with {head.words}. Name fitting data with --data."
        )
    parts = data.parts
    epochs = _epochs(path, checkpoint, head.metric, baseline_of(parts.train, head))
    return Run(classifier, parts, epochs, data.notes)


def _as_trained(classifier: GRUClassifier) -> dict[str, Any]:
    """Return settings with which data are read as in training, and as the classifier answers."""
    head, names = classifier.head, classifier.hparams["class_names"]
    settings: dict[str, Any] = {
        "targets": kind_of_targets(classifier),
        "per_step": head.per_step,
        **offset_settings(classifier),
        "missing": classifier.hparams["missing"] or "error",
        "fill": classifier.hparams["fill"],
    }
    if head.num_classes and names is not None:  # a model ported from Keras may know none
        settings["class_names"] = list(names)
    elif head.num_classes:
        settings["num_classes"] = head.num_classes
    if classifier.hparams["feature_names"] is not None:
        settings["features"] = list(classifier.feature_names)
    return settings


def _epochs(
    path: Path, checkpoint: Checkpoint, metric: str, baseline: Baseline | None
) -> list[Epoch]:
    """Return the epochs up to the checkpoint; a training without our recorder left a table."""
    recorder = TraceRecorder()
    if state := checkpoint.get("callbacks", {}).get(TraceRecorder.__name__):
        recorder.load_state_dict(state)
        return recorder.epochs
    table = path.resolve().parent.parent / "metrics.csv"
    if "epoch" not in checkpoint or not table.is_file():
        return []
    return _epochs_of_table(table, checkpoint["epoch"] + 1, metric, baseline)


def _epochs_of_table(table: Path, last: int, metric: str, baseline: Baseline | None) -> list[Epoch]:
    try:
        found = _metrics_of_table(table, metric)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        said = f"{type(error).__name__}: {str(error)[:100]}"
        raise InputError(
            f"{table}: cannot be read as a run's metrics ({said}). Remove it, or mend it."
        ) from error
    epochs: list[Epoch] = []
    for number, metrics in sorted(found.items()):
        if 1 <= number <= last and {"train_loss", f"train_{metric}"} <= metrics.keys():
            before = epochs[-1].metrics if epochs else None
            epochs.append(Epoch(number, metrics, observe(metrics, before, baseline)))
    return epochs


def _metrics_of_table(table: Path, metric: str) -> dict[int, dict[str, float]]:
    """Return loss and metric of each epoch, counted from 1, those of validation only together.

    Raises:
        ValueError: A number is none that float32, in which they are computed, can hold.
    """
    found: dict[int, dict[str, float]] = {}
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            metrics = found.setdefault(int(row["epoch"]) + 1, {})
            for stage in ("train", "val"):
                pair = {name: row.get(name) for name in (f"{stage}_loss", f"{stage}_{metric}")}
                if all(pair.values()):
                    metrics |= {name: _float32(value) for name, value in pair.items()}
    return found


def _float32(text: str | None) -> float:
    value = float(text or "nan")
    if 1e39 < abs(value) < math.inf:
        raise ValueError(f"{value} is too large")
    return value
