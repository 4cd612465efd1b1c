"""Sequences for Lightning: which part trains, validates and tests, in what batches."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray

from grulight.data.batches import Batches, Order
from grulight.data.blocks import Blocks
from grulight.data.notes import class_notes, shape_notes
from grulight.data.readers import ReadOptions, has_test_part, read
from grulight.data.readers.targets import Kind, Wish
from grulight.data.sequences import Sequences
from grulight.data.shuffling import shuffled_sequences
from grulight.data.statistics import feature_statistics
from grulight.errors import InputError

# what a model has to know of the data, by the names that both have for it
DESCRIPTION = (
    *("input_size", "num_classes", "num_values", "per_step"),
    *("class_names", "feature_names", "mean", "scale"),
)
_MOST_CLASSES = 1 << 20  # each has a name
_TABLES = (".csv", ".parquet")  # their features have names of their own


class Parts(NamedTuple):
    """The parts of a source, in its own order."""

    train: Sequences
    val: Sequences
    test: Sequences


class SequenceDataModule(LightningDataModule):
    """Serve labelled sequences from a built-in set, a file or an archive.

    The split is by position, as in the original pipeline: the first ``train_size`` sequences
    train and the rest test. Sources with a test part of their own keep it.

    Args:
        source: ``waves`` (built in), a file (.npz, .npy, .csv, .parquet, .ts) or ``aeon:NAME``.
        test_source: Where the test part comes from, if not from ``source``.
        train_size: Share (0.8) or number (800) of the sequences that train.
        val_size: Share or number taken from the end of the training part for validation.
        batch_size: Sequences per batch.
        standardize: Scale every feature to mean 0 and deviation 1 over the training part.
        label: Name of the label column in tables.
        sequence: Name of the column that says which sequence a row belongs to.
        time: Name of the column that orders the rows of a sequence, where there is one.
        features: The columns of a table that are features (by default all others), or names for
            the features of another source.
        labels_file: Labels (.npy) of a ``.npy`` source.
        lengths_file: Sequence lengths (.npy) of a ``.npy`` source.
        class_names: The classes in the order of the model's outputs; by default those of the
            training part, sorted.
        targets: Whether labels are ``classes`` or ``values``. With ``auto`` integers, booleans,
            texts and whole floats are classes, and so an array whose last axis is one-hot; other
            numbers are values. A ported Keras model asks for what its output is.
        per_step: Whether there is a label for each time step. By default where a label array has
            three axes, or two of which the second is as long as the sequences; never in a table.
        num_classes: How many classes a ported model tells apart: whole-number labels then are
            positions among its outputs, also where some classes occur in no sequence.
        seed: Seed of the shuffling; by default torch's initial seed. Kept in checkpoints.
    """

    def __init__(
        self,
        source: str = "waves",
        test_source: str | None = None,
        train_size: float = 0.8,
        val_size: float = 0.0,
        batch_size: int = 32,
        standardize: bool = False,
        label: str = "label",
        sequence: str = "sequence",
        time: str = "time",
        features: list[str] | None = None,
        labels_file: str | None = None,
        lengths_file: str | None = None,
        class_names: list[str] | None = None,
        targets: Kind = "auto",
        per_step: bool | None = None,
        num_classes: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"--data.batch_size {batch_size}: expected at least 1.")
        if seed is not None and seed < 0:
            raise InputError(f"--data.seed {seed}: expected at least 0.")
        if num_classes is not None and not 1 <= num_classes <= _MOST_CLASSES:
            raise InputError(f"--data.num_classes {num_classes}: expected 1 to {_MOST_CLASSES}.")
        self.source, self.test_source = source, test_source
        self.train_size, self.val_size = train_size, val_size
        self.batch_size, self.standardize, self.seed = batch_size, standardize, seed
        self.options = ReadOptions(
            label=label,
            sequence=sequence,
            time=time,
            labels_file=labels_file,
            lengths_file=lengths_file,
            targets=Wish(targets, per_step),
        )
        self._features = tuple(features) if features else None
        self._class_names = tuple(class_names) if class_names else None
        self._num_classes = num_classes
        self._notes: dict[str, None] = {}  # in order, each once

    @property
    def notes(self) -> list[str]:
        """What the user should know of what was read so far, a line each."""
        return list(self._notes)

    @cached_property
    def parts(self) -> Parts:
        """The three parts with labels over the same classes, read on first use.

        Raises:
            InputError: The source cannot be read or split, or its parts do not fit each other.
        """
        train, test = self._read(self.options)
        known = self._class_names or self._num_classes or train.has_values
        if not len(train) and not known:
            raise InputError(f"{self.source}: no training sequences; raise --data.train_size.")
        class_names = self._class_names or self._classes_of(train)
        if len(class_names) < 2 and not train.has_values:
            raise InputError(
                f"{self.source}: all {len(train)} training sequences have the class "
                f"{class_names[0]!r}; expected at least 2 classes to tell apart."
            )
        train, test = train.with_classes(class_names), test.with_classes(class_names)
        _require_same_targets(train, test)
        kept = len(train) - _count(self.val_size, len(train), "val_size")
        if not kept and not known:
            raise InputError(f"--data.val_size {self.val_size}: leaves no sequences to train on.")
        parts = Parts(train.part(0, kept), train.part(kept, len(train)), test)
        others = (("validation", parts.val), ("test", parts.test))
        self._notes.update(dict.fromkeys(class_notes(parts.train, others)))
        return parts

    def _classes_of(self, train: Sequences) -> tuple[str, ...]:
        """Return the classes in the order of the model's outputs, where nobody named them."""
        if self._num_classes is not None and not train.has_values:
            if len(train.class_names) == self._num_classes:
                return train.class_names  # also those that the training part lacks
            positions = tuple(map(str, range(self._num_classes)))
            if set(train.class_names) <= set(positions):
                return positions
            raise InputError(
                f"{self.source}: has the classes {', '.join(train.class_names[:20])}, but the "
                f"model tells {self._num_classes} apart. Expected whole numbers below "
                f"{self._num_classes}, or --data.class_names in the order of its outputs."
            )
        return train.present_classes()

    def _read(self, options: ReadOptions) -> tuple[Sequences, Sequences]:
        """Return the training part, validation included, and the test part."""
        if self.test_source is not None:
            part: Literal["train", "test"] = "test" if has_test_part(self.test_source) else "train"
            # those files belong to the source; labels of a test part come in its .npz
            others = replace(options, part=part, labels_file=None, lengths_file=None)
            first = self._source(self.source, options)
            second = self._source(self.test_source, others)
            _require_same_features(first, second)
            return first, second
        if has_test_part(self.source):
            test = self._source(self.source, replace(options, part="test"))
            return self._source(self.source, options), test
        whole = self._source(self.source, options)
        count = _count(self.train_size, len(whole), "train_size")
        return whole.part(0, count), whole.part(count, len(whole))

    def _source(self, source: str, options: ReadOptions) -> Sequences:
        if self._features is None or Path(source).suffix.lower() in _TABLES:
            found = read(source, replace(options, features=self._features))
        else:
            found = read(source, options).with_features(self._features)
        self._notes.update(dict.fromkeys((*found.notes, *shape_notes(found))))
        return found

    @property
    def input_size(self) -> int:
        """Features per time step."""
        return len(self.parts.train.feature_names)

    @property
    def num_classes(self) -> int:
        """Classes of the training part; 0 where its labels are values."""
        return len(self.parts.train.class_names)

    @property
    def num_values(self) -> int:
        """Values of each label; 0 where the labels are classes."""
        return self.parts.train.num_values

    @property
    def per_step(self) -> bool:
        """Whether there is a label for each time step."""
        return self.parts.train.per_step

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the model's outputs."""
        return list(self.parts.train.class_names)

    @property
    def feature_names(self) -> list[str]:
        """Names of the features."""
        return list(self.parts.train.feature_names)

    @property
    def mean(self) -> list[float] | None:
        """Mean of each feature over the training part; None without standardisation."""
        return self._statistics[0].tolist() if self.standardize else None

    @property
    def scale(self) -> list[float] | None:
        """Standard deviation of each feature over the training part; None likewise."""
        return self._statistics[1].tolist() if self.standardize else None

    def describe(self) -> dict[str, Any]:
        """Return what a model has to know of the data, as arguments of ``GRUClassifier``."""
        return {name: getattr(self, name) for name in DESCRIPTION}

    @cached_property
    def _statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return feature_statistics(self.parts.train)

    def batches(self, part: Sequences, order: Callable[[int], Order] | None = None) -> Batches:
        """Return batches of a part, in its own order unless ``order`` gives another."""
        if self.trainer is None:
            return Batches(part, self.batch_size, order)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return Batches(part, self.batch_size, order, self._epoch, rank, world)

    def train_dataloader(self) -> Batches | Blocks:
        """Return the training batches, reshuffled every epoch.

        With ``overfit_batches`` they are the same ones each time, in the source's order.
        """
        if self.seed is None:
            self.seed = torch.initial_seed()
        if self.trainer is not None:
            # processes that nobody seeded have seeds of their own
            self.seed = int(self.trainer.strategy.broadcast(self.seed))
        order = partial(shuffled_sequences, self.parts.train, self.seed)
        fixed = getattr(self.trainer, "overfit_batches", 0) > 0  # set where mypy cannot see
        batches = self.batches(self.parts.train, None if fixed else order)
        module = self.trainer and self.trainer.lightning_module
        together = getattr(module, "steps_together", None)
        steps = 1 if together is None else together(len(batches))
        return batches if steps == 1 else Blocks(batches, steps)

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0

    def state_dict(self) -> dict[str, Any]:
        """Return the seed of the shuffling, and what was read how, for checkpoints."""
        options = self.options
        columns = {"sequence": options.sequence, "time": options.time, "label": options.label}
        return {"seed": self.seed, "source": self.source, "columns": columns}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the shuffling of the run that is resumed.

        Raises:
            InputError: Another seed was asked for.
        """
        if self.seed not in (None, state_dict["seed"]):
            raise InputError(
                f"--data.seed {self.seed}: the run that goes on shuffles with "
                f"{state_dict['seed']}. Leave it out."
            )
        self.seed = state_dict["seed"]

    def val_dataloader(self) -> Batches | list[Batches]:
        """Return the validation batches; an empty list where there is no validation part."""
        return self.batches(self.parts.val) if len(self.parts.val) else []

    def test_dataloader(self) -> Batches:
        """Return the test batches."""
        return self.batches(self.parts.test)

    def predict_dataloader(self) -> list[Batches]:
        """Return batches of every sequence of the source; labels, if there are any, are ignored."""
        return [self.batches(part) for part in self.unlabelled]

    @cached_property
    def unlabelled(self) -> list[Sequences]:
        """Every sequence of the source without its label, for prediction."""
        both = self._read(replace(self.options, require_labels=False))
        parts = [replace(part, labels=None) for part in both if len(part)]
        own_names = self.test_source is None and not has_test_part(self.source)
        if len(parts) == 2 and not own_names and np.intersect1d(parts[0].ids, parts[1].ids).size:
            for at, name in enumerate(("train", "test")):
                parts[at] = replace(parts[at], ids=np.char.add(f"{name}/", parts[at].ids))
        return parts


def _count(size: float, total: int, name: str) -> int:
    """Turn a share (up to 1) or a number of sequences into a number."""
    count = 0 if not math.isfinite(size) else round(size * total) if size <= 1 else int(size)
    if not 0 <= size < math.inf or count > total or (size > 1 and size != count):
        raise InputError(
            f"--data.{name} {size}: expected a share from 0 to 1 or a whole number of sequences up "
            f"to {total}."
        )
    return count


def _require_same_targets(train: Sequences, test: Sequences) -> None:
    ours, theirs = ((part.per_step, part.num_values) for part in (train, test))
    if train.labels is not None and test.labels is not None and ours != theirs:
        raise InputError(
            f"{test.source}: has labels of another kind or size than {train.source}. Both parts "
            "need the same; --data.targets and --data.per_step say which."
        )


def _require_same_features(train: Sequences, test: Sequences) -> None:
    if train.feature_names != test.feature_names:
        raise InputError(
            f"{test.source}: has the {len(test.feature_names)} features "
            f"{', '.join(test.feature_names)}, but {train.source} has the "
            f"{len(train.feature_names)} features {', '.join(train.feature_names)}. "
            "Both parts need the same."
        )
