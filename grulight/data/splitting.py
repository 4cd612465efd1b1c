"""How a source is split into parts that train, validate and test, and that fit each other."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from grulight.data.notes import class_notes, offset_notes, shape_notes
from grulight.data.readers import (
    Given,
    ReadOptions,
    has_names,
    has_test_part,
    read,
    without_columns,
)
from grulight.data.sequences import Sequences
from grulight.errors import InputError, listed

Notes = dict[str, None]  # lines in order, each once


class Parts(NamedTuple):
    """The parts of a source, in its own order."""

    train: Sequences
    val: Sequences
    test: Sequences


@dataclass(frozen=True)
class Split:
    """What is read, and which part of it goes where; see ``SequenceDataModule``.

    Attributes:
        standardize: Whether a feature that float32 cannot hold is to be read less an offset.
        notes: Takes in, each once, what the user should know of what is read.
    """

    source: str | Given
    test_source: str | Given | None
    train_size: float
    val_size: float
    options: ReadOptions
    features: tuple[str, ...] | None
    class_names: tuple[str, ...] | None
    num_classes: int | None
    standardize: bool = False
    notes: Notes = field(default_factory=dict)

    def labelled(self) -> Parts:
        """Return the three parts, with labels over the same classes.

        Raises:
            InputError: The source cannot be read or split, or its parts do not fit each other.
        """
        train, test = self._read_both(self.options)
        known = self.class_names or self.num_classes or train.has_values
        if not len(train) and not known:
            raise InputError(f"{self.source}: no training sequences; raise --data.train_size.")
        class_names = self.class_names or self._classes_of(train)
        if len(class_names) < 2 and not train.has_values:
            raise InputError(
                f"{self.source}: all {len(train)} training sequences have the class "
                f"{class_names[0]!r}; expected at least 2 classes to tell apart."
            )
        train, test = train.with_classes(class_names), test.with_classes(class_names)
        _require_same_targets(train, test)
        kept = len(train) - _number_of(self.val_size, len(train), "val_size")
        if not kept and not known:
            raise InputError(f"--data.val_size {self.val_size}: leaves no sequences to train on.")
        parts = Parts(train.part(0, kept), train.part(kept, len(train)), test)
        others = (("validation", parts.val), ("test", parts.test))
        self.notes.update(dict.fromkeys(class_notes(parts.train, others)))
        return parts

    def _classes_of(self, train: Sequences) -> tuple[str, ...]:
        """Return the classes in the order of the model's outputs, where nobody named them."""
        if self.num_classes is not None and not train.has_values:
            if len(train.class_names) == self.num_classes:
                return train.class_names  # also those that the training part lacks
            positions = tuple(map(str, range(self.num_classes)))
            if set(train.class_names) <= set(positions):
                return positions
            raise InputError(
                f"{self.source}: has the classes {listed(train.class_names)}, but the "
                f"model tells {self.num_classes} apart. Expected whole numbers below "
                f"{self.num_classes}, or --data.class_names in the order of its outputs."
            )
        return train.present_classes()

    def _read_both(self, options: ReadOptions) -> tuple[Sequences, Sequences]:
        """Return the training part, validation included, and the test part; note what is odd."""
        notes: Notes = {}
        both = self._read_parts(options, notes)
        needed = next(filter(None, (part.needed_offset for part in both)), None)
        if self.standardize and options.offset is None and needed is not None:
            # read again: it is known only now which digits would be lost
            notes = {}
            both = self._read_parts(replace(options, offset=needed), notes)
        self.notes.update(notes)
        return both

    def _read_parts(
        self, options: ReadOptions, notes: dict[str, None]
    ) -> tuple[Sequences, Sequences]:
        if self.test_source is not None:
            part: Literal["train", "test"] = "test" if has_test_part(self.test_source) else "train"
            # those files belong to the source; labels of a test part come in its .npz
            others = replace(options, part=part, labels_file=None, lengths_file=None)
            tables = [has_names(each) for each in (self.source, self.test_source)]
            if any(tables):  # options that have an effect on one of both are meant for it
                options, others = (
                    each if table else without_columns(each)
                    for each, table in zip((options, others), tables, strict=True)
                )
            first = self._read_one(self.source, options, notes)
            second = self._read_one(self.test_source, others, notes)
            _require_same_features(first, second)
            return first, second
        if has_test_part(self.source):
            test = self._read_one(self.source, replace(options, part="test"), notes)
            return self._read_one(self.source, options, notes), test
        whole = self._read_one(self.source, options, notes)
        count = _number_of(self.train_size, len(whole), "train_size")
        return whole.part(0, count), whole.part(count, len(whole))

    def _read_one(self, source: str | Given, options: ReadOptions, notes: Notes) -> Sequences:
        if self.features is None or has_names(source):
            found = read(source, replace(options, features=self.features))
        else:
            found = read(source, options).with_features(self.features)
        notes.update(dict.fromkeys((*found.notes, *offset_notes(found), *shape_notes(found))))
        return found

    def unlabelled(self) -> list[Sequences]:
        """Return every sequence of the source without its label, for prediction."""
        both = self._read_both(replace(self.options, require_labels=False))
        parts = [replace(part, labels=None) for part in both if len(part)]
        own_names = self.test_source is None and not has_test_part(self.source)
        if len(parts) == 2 and not own_names and np.intersect1d(parts[0].ids, parts[1].ids).size:
            for at, name in enumerate(("train", "test")):
                parts[at] = replace(parts[at], ids=np.char.add(f"{name}/", parts[at].ids))
        return parts


def _number_of(size: float, total: int, name: str) -> int:
    """Return how many sequences a share (up to 1) or a number of them is."""
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
            f"{listed(test.feature_names)}, but {train.source} has the "
            f"{len(train.feature_names)} features {listed(train.feature_names)}. "
            "Both parts need the same."
        )
