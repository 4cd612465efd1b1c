"""What is read: one source, or one that trains and one that tests, which fit each other."""

from dataclasses import dataclass, field, replace
from typing import Literal

from grulight.data.notes import offset_notes, shape_notes
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


@dataclass(frozen=True)
class Sources:
    """Where sequences come from; see ``SequenceDataModule``.

    Attributes:
        standardize: Whether a feature that float32 cannot hold is to be read less an offset.
        notes: Takes in, each once, what the user should know of what is read.
    """

    source: str | Given
    test_source: str | Given | None
    options: ReadOptions
    features: tuple[str, ...] | None
    standardize: bool = False
    notes: Notes = field(default_factory=dict)

    def read(self, *, require_labels: bool = True) -> list[Sequences]:
        """Return what trains and what tests, or the one source that is to be split.

        Raises:
            InputError: A source cannot be read, or both do not fit each other.
        """
        options = replace(
            self.options, require_labels=require_labels and self.options.require_labels
        )
        notes: Notes = {}
        found = self._read(options, notes)
        needed = next(filter(None, (each.needed_offset for each in found)), None)
        if self.standardize and options.offset is None and needed is not None:
            # read again: it is known only now which digits would be lost
            notes = {}
            found = self._read(replace(options, offset=needed), notes)
        self.notes.update(notes)
        return found

    def _read(self, options: ReadOptions, notes: Notes) -> list[Sequences]:
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
            return [first, second]
        if has_test_part(self.source):
            test = self._read_one(self.source, replace(options, part="test"), notes)
            return [self._read_one(self.source, options, notes), test]
        return [self._read_one(self.source, options, notes)]

    def _read_one(self, source: str | Given, options: ReadOptions, notes: Notes) -> Sequences:
        if self.features is None or has_names(source):
            found = read(source, replace(options, features=self.features))
        else:
            found = read(source, options).with_features(self.features)
        notes.update(dict.fromkeys((*found.notes, *offset_notes(found), *shape_notes(found))))
        return found


def _require_same_features(train: Sequences, test: Sequences) -> None:
    if train.feature_names != test.feature_names:
        raise InputError(
            f"{test.source}: has the {len(test.feature_names)} features "
            f"{listed(test.feature_names)}, but {train.source} has the "
            f"{len(train.feature_names)} features {listed(train.feature_names)}. "
            "Both parts need the same."
        )
