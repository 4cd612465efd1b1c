"""How a source is split into parts that train, validate and test, and that fit each other."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from grulight.data.notes import alike_notes, class_notes, group_notes, sorted_hint
from grulight.data.partition import SplitBy, divided, number_of
from grulight.data.readers import has_names, has_test_part
from grulight.data.sequences import Sequences
from grulight.data.sources import Sources
from grulight.data.windowing import windowed_parts, windows_of_all
from grulight.data.windows import Windows
from grulight.errors import InputError, listed, option


class Parts(NamedTuple):
    """The parts of a source, in its own order."""

    train: Sequences
    val: Sequences
    test: Sequences


@dataclass(frozen=True)
class Split:
    """What is read, and which part of it goes where; see ``SequenceDataModule``.

    Attributes:
        seed: Of what is drawn for a split that is not by position.
        windows: How long series are cut; None where the sequences are taken as they are.
    """

    sources: Sources
    train_size: float
    val_size: float
    by: SplitBy = "positional"
    seed: int = 0
    class_names: tuple[str, ...] | None = None
    num_classes: int | None = None
    windows: Windows | None = None

    def labelled(self) -> Parts:
        """Return the three parts, with labels over the same classes.

        Raises:
            InputError: The source cannot be read or split, or its parts do not fit each other.
        """
        if self.windows is not None:
            return self._windowed(self.windows)
        train, test = self._train_and_test(self.by)
        source, hint = train.source, sorted_hint(train, test, self.by)
        known = self.class_names or self.num_classes or train.has_values
        if not len(train) and not known:
            raise InputError(f"{source}: no training sequences; raise {option('data.train_size')}.")
        class_names = self.class_names or self._classes_of(train)
        if len(class_names) < 2 and not train.has_values:
            raise InputError(
                f"{source}: all {len(train)} training sequences have the class "
                f"{class_names[0]!r}; expected at least 2 classes to tell apart.{hint}"
            )
        train, test = train.with_classes(class_names), test.with_classes(class_names, hint)
        _require_same_targets(train, test)
        kept = len(train) - number_of(self.val_size, len(train), "val_size")
        if not kept and not known:
            raise InputError(
                f"{option('data.val_size', self.val_size)}: leaves no sequences to train on."
            )
        parts = Parts(*divided(train, kept, self.by, (self.seed, 1)), test)
        named = [("training", parts.train), ("validation", parts.val), ("test", parts.test)]
        chosen = self.class_names is not None  # by a checkpoint, whose training part had them all
        said = (*class_notes(named[chosen:], parts, self.by), *group_notes(named, self.by))
        said = (*alike_notes(parts.train), *said)
        self.sources.notes.update(dict.fromkeys(said))
        return parts

    def _windowed(self, windows: Windows) -> Parts:
        sources = self.sources
        if has_names(sources.source):
            sources = replace(sources, features=windows.columns(sources.features))
        found, sizes = sources.read(), (self.train_size, self.val_size)
        return Parts(*windowed_parts(windows, found, *sizes, sources.notes))

    def _train_and_test(
        self, by: SplitBy, *, require_labels: bool = True
    ) -> tuple[Sequences, Sequences]:
        """Return the training part, validation included, and the test part."""
        found = self.sources.read(require_labels=require_labels)
        if len(found) == 2:
            return found[0], found[1]
        count = number_of(self.train_size, len(found[0]), "train_size")
        return divided(found[0], count, by, (self.seed, 0))

    def _classes_of(self, train: Sequences) -> tuple[str, ...]:
        """Return the classes in the order of the model's outputs, where nobody named them."""
        if self.num_classes is not None and not train.has_values:
            if len(train.class_names) == self.num_classes:
                return train.class_names  # also those that the training part lacks
            positions = tuple(map(str, range(self.num_classes)))
            if set(train.class_names) <= set(positions):
                return positions
            raise InputError(
                f"{train.source}: has the classes {listed(train.class_names)}, but the "
                f"model tells {self.num_classes} apart. Expected whole numbers below "
                f"{self.num_classes}, or {option('data.class_names')} in the order of its outputs."
            )
        return train.present_classes()

    def unlabelled(self) -> list[Sequences]:
        """Return every sequence of the source without its label, in its order, for prediction."""
        sources = self.sources
        if self.windows is not None:
            both = windows_of_all(self.windows, sources.read(), sources.notes)
        else:
            both = [*self._train_and_test("positional", require_labels=False)]
        parts = [replace(part, labels=None) for part in both if len(part)]
        own_names = sources.test_source is None and not has_test_part(sources.source)
        if len(parts) == 2 and not own_names and np.intersect1d(parts[0].ids, parts[1].ids).size:
            for at, name in enumerate(("train", "test")):
                parts[at] = replace(parts[at], ids=np.char.add(f"{name}/", parts[at].ids))
        return parts


def _require_same_targets(train: Sequences, test: Sequences) -> None:
    ours, theirs = ((part.per_step, part.num_values) for part in (train, test))
    if train.labels is not None and test.labels is not None and ours != theirs:
        raise InputError(
            f"{test.source}: has labels of another kind or size than {train.source}. Both parts "
            f"need the same; {option('data.targets')} and {option('data.per_step')} say which."
        )
