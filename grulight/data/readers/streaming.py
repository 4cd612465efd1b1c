"""Sources of any size, as blocks of whole sequences."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers import ReadOptions, checked_path, columns_of, read
from grulight.data.readers.classes import class_indices
from grulight.data.readers.digits import as_float32
from grulight.data.readers.file_kinds import TABLES
from grulight.data.readers.long_table import gathered
from grulight.data.readers.messages import bad
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.table_rows import Rows
from grulight.data.readers.tables import table_rows
from grulight.data.readers.targets import Wish, target_notes, targets
from grulight.data.sequences import Sequences
from grulight.errors import InputError

_ROWS = 1 << 16  # of a table, held at once
_VALUES = 1 << 20  # of an array, likewise
_REMEMBERED = 100_000  # sequences of a table that are noticed at once if they come again


@dataclass(frozen=True)
class Block:
    """Some sequences.

    Attributes:
        steps: (S, F) their steps, one sequence after the other.
        lengths: (n,) int64.
        labels: Classes as the stream numbers them, or values: (n, ...), or (S, ...) where the
            stream has ``labels_by_row``; None without labels.
        ids: (n,) what the source calls them.
    """

    steps: NDArray[np.float32]
    lengths: NDArray[np.int64]
    labels: NDArray[np.generic] | None
    ids: NDArray[np.str_]


class TableStream:
    """A long table whose sequences follow each other, checked as ``read`` checks it.

    Args:
        source: A path ending in .csv or .parquet.
        options: As for ``read``; ``require_labels=False`` ignores the label column.
        seen: Called with the share of the source that was read.
    """

    def __init__(self, source: str, options: ReadOptions, seen: Callable[[float], None]) -> None:
        self.source, self._options, self._seen = source, options, seen
        self.feature_names: tuple[str, ...] = ()
        self._of_features: tuple[str, ...] = ()
        self._of_values: tuple[str, ...] = ()
        self.steps = 0  # of the longest sequence so far
        self.labels_by_row = bool(options.targets.per_step)
        self._classes: dict[str, str] = {}  # and the first sequence of each

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines of the first block that has some: what the user should know."""
        return self._of_features + self._of_values

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks."""
        path, _ = checked_path(self.source, self._options)
        earlier: set[str] = set()
        columns = columns_of(self._options)
        for rows in table_rows(path, columns, _ROWS, self._seen):
            _require_succession(path, rows, earlier)
            if len(earlier) < _REMEMBERED:
                earlier.update(rows.sequences.names)
            raw = gathered(path, rows, columns)
            self.feature_names = tuple(raw.feature_names or ())
            self._of_features = self._of_features or raw.notes
            yield self._block(raw)

    def _block(self, raw: RawSequences) -> Block:
        assert raw.lengths is not None
        self.steps = max(self.steps, int(raw.lengths.max()))
        ids = np.asarray(raw.ids, dtype=np.str_)
        labels: NDArray[np.generic] | None = None
        if raw.labels is not None:
            owners = np.repeat(ids, raw.lengths) if self.labels_by_row else ids
            values = self._options.targets.kind == "values"
            labels = self._values(raw, owners) if values else self._numbered(raw.labels, owners)
        return Block(raw.values, raw.lengths, labels, ids)

    def _values(self, raw: RawSequences, ids: NDArray[np.str_]) -> NDArray[np.generic]:
        assert raw.labels is not None
        try:
            # labels of rows as well: to check them, each row is a sequence of one step
            once = np.ones(len(ids), np.int64)
            held = targets(raw.labels, once, 1, ids, None, Wish("values", per_step=False))[0]
        except ValueError as error:
            raise bad(self.source, f"{raw.name('y')}: {error}") from error
        self._of_values = self._of_values or target_notes(self.source, raw.labels, held, once == 1)
        return held

    def _numbered(self, labels: NDArray[np.str_], ids: NDArray[np.str_]) -> NDArray[np.int64]:
        """Number classes as they appear; how they sort shows at the end."""
        names, first, inverse = np.unique(labels, True, True)
        for name, sequence in zip(names.tolist(), ids[first].tolist(), strict=True):
            self._classes.setdefault(name, sequence)
        number = {name: position for position, name in enumerate(self._classes)}
        return np.array([number[name] for name in names.tolist()], np.int64)[inverse]

    def classes(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """Return the index of each class in the order of the blocks' numbers, and the names.

        None without labels or with values. To be asked after the last block.

        Raises:
            InputError: Some labels are whole numbers and others are not.
        """
        if not self._classes:
            return None
        names, ids = np.array(list(self._classes)), np.array(list(self._classes.values()))
        try:
            return class_indices(names, ids, None)
        except ValueError as error:
            raise bad(self.source, f"column {self._options.label!r}: {error}") from error


class ArrayStream:
    """Sequences whose values are mapped into memory; they were checked when they were read.

    Args:
        sequences: The sequences.
        seen: Called with the share of them that was served.
    """

    labels_by_row = False

    def __init__(self, sequences: Sequences, seen: Callable[[float], None]) -> None:
        self._sequences, self._seen = sequences, seen
        self.source = sequences.source
        self.feature_names, self.notes = sequences.feature_names, sequences.notes
        self.steps = sequences.values.shape[1]  # padding included, as labels per step have it

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks."""
        at_once = max(1, _VALUES // (self.steps * len(self.feature_names)))
        for start in range(0, len(self._sequences), at_once):
            part = self._sequences.part(start, start + at_once)
            valid = np.arange(self.steps) < part.lengths[:, None]
            yield Block(
                as_float32(np.asarray(part.values))[valid], part.lengths, part.labels, part.ids
            )
            self._seen((start + len(part)) / len(self._sequences))

    def classes(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """Return the index of each class, which is its number, and the names; None without."""
        names = self._sequences.class_names
        return (
            (np.arange(len(names)), names) if self._sequences.labels is not None and names else None
        )


def stream(
    source: str, options: ReadOptions, seen: Callable[[float], None]
) -> TableStream | ArrayStream:
    """Return the blocks of a source.

    Tables are read once. Arrays are looked through once more before, to be checked; so that this
    takes no memory, a compressed array is unpacked into ``options.scratch``.

    Raises:
        InputError: As ``read``; tables raise when they are iterated.
    """
    if source.lower().endswith(TABLES):
        return TableStream(source, options, seen)
    sequences = read(source, options)
    if not options.require_labels:  # the built-in set has some all the same
        sequences = replace(sequences, labels=None)
    return ArrayStream(sequences, seen)


def _require_succession(path: str, rows: Rows, earlier: set[str]) -> None:
    codes, names = rows.sequences.codes, rows.sequences.names
    # codes count up in order of first appearance
    again = np.flatnonzero(np.diff(codes) < 0) + 1
    known = next((code for code, name in enumerate(names) if name in earlier), None)
    before = [] if known is None else [int((codes == known).argmax())]
    if found := [*again[:1].tolist(), *before]:
        raise scattered(path, rows.place(min(found)), names[codes[min(found)]])


def scattered(path: str, place: str, sequence: str) -> InputError:
    """Return the error for a sequence whose rows do not follow each other."""
    return bad(
        path,
        f"{place}: sequence {sequence!r} goes on after rows of others; to be packed, the rows of a "
        "sequence must follow each other. Sort the table by its sequence column first.",
    )
