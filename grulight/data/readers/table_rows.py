"""The rows of a long table, gathered from blocks of Arrow columns."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.arrow_columns import Texts, as_numbers, as_texts, as_times, merged_times
from grulight.data.readers.digits import Digits, as_float32
from grulight.data.readers.memory import require_memory
from grulight.data.readers.offsets import Offset
from grulight.data.readers.table_blocks import Block, made_ahead
from grulight.data.readers.table_columns import Layout, limit_rows

_ASKED = 1 << 17  # rows after which the memory is asked for


@dataclass(frozen=True)
class Rows:
    """The R rows of a table.

    Attributes:
        sequences: Which sequence each row belongs to.
        labels: Its label, or None where the table has none.
        groups: Likewise which group it belongs to.
        weights: Likewise its sequence's weight.
        times: (R,) numbers that order the rows of a sequence, or None to keep their order.
        features: (R, F) float32.
        layout: Where these columns were.
        place: Says where a row is, such as "line 7".
        notes: What the user should know of them, a line each.
        needed_offset: As in :class:`grulight.data.sequences.Sequences`.
    """

    sequences: Texts
    labels: Texts | None
    times: NDArray[Any] | None
    features: NDArray[np.float32]
    layout: Layout
    place: Callable[[int], str]
    notes: tuple[str, ...] = ()
    needed_offset: Offset | None = None
    groups: Texts | None = None
    weights: Texts | None = None


def rows_of_whole_sequences(
    path: str,
    blocks: Iterator[Block],
    layout: Layout,
    at_once: float,
    seen: Callable[[float], None] = lambda share: None,
    *,
    missing: bool = False,
) -> Iterator[Rows]:
    """Yield the rows of whole sequences: at least ``at_once`` rows, but for the last time.

    Args:
        path: The table, for messages.
        blocks: Its rows.
        layout: Where its columns are.
        at_once: Where rows of a sequence follow each other, no more are held than these, a block
            and one sequence.
        seen: Called with the share of the table that was read.
        missing: Whether features may be missing, which are NaN then.

    Raises:
        InputError: A cell is wrong, or there is too little memory.
    """
    assert layout.sequence is not None
    if at_once < math.inf:
        at_once = limit_rows(at_once, layout)
    gathered = _Gathered(path, layout, missing)
    for block in made_ahead(blocks):
        if gathered.count >= at_once:
            name = layout.names[layout.sequence]
            sequences = as_texts(path, name, block.columns[layout.sequence])
            codes = sequences.codes
            if sequences.names[int(codes[-1])] != gathered.last:
                # the sequence that the block ends with may go on in the next one
                others = np.flatnonzero(codes != codes[-1])
                start = int(others[-1]) + 1 if len(others) else 0
                if start:
                    gathered.add(block.part(0, start))
                yield gathered.rows()
                seen(block.share)
                gathered, block = _Gathered(path, layout, missing), block.part(start, block.count)
        gathered.add(block)
    yield gathered.rows()
    seen(1.0)


class _Gathered:
    """Rows that are added block by block."""

    def __init__(self, path: str, layout: Layout, missing: bool) -> None:
        self._path, self._layout, self._missing = path, layout, missing
        self._features: list[NDArray[np.float32]] = []
        self._sequences, self._labels = list[Texts](), list[Texts]()
        self._groups, self._weights = list[Texts](), list[Texts]()
        self._times: list[Any] = []
        self._places: list[Callable[[int], str]] = []
        self._digits = Digits(len(layout.features))
        self.count = 0

    @property
    def last(self) -> str:
        """The sequence of the last row."""
        sequences = self._sequences[-1]
        return sequences.names[int(sequences.codes[-1])]

    def add(self, block: Block) -> None:
        path, layout, names = self._path, self._layout, self._layout.names
        exact = np.empty((block.count, len(layout.features)), order="F")
        for at, i in enumerate(layout.features):
            column, place = block.columns[i], block.place
            exact[:, at] = as_numbers(path, names[i], column, place, missing=self._missing)
        if layout.offset is not None:
            exact -= layout.offset
        self._features.append(as_float32(exact))
        self._digits.add(exact, self._features[-1])
        kept = (layout.sequence, layout.label, layout.group, layout.weight)
        into = (self._sequences, self._labels, self._groups, self._weights)
        for column, texts in zip(kept, into, strict=True):
            if column is not None:
                texts.append(as_texts(path, names[column], block.columns[column]))
        if layout.time is not None:
            column = block.columns[layout.time]
            self._times.append(as_times(path, names[layout.time], column, block.place))
        self._places.append(block.place)
        self._require_room(block.count)
        self.count += block.count

    def _require_room(self, more: int) -> None:
        """Ask now and then: a few bytes of a compressed file may stand for any number of rows."""
        if self.count // _ASKED != (self.count + more) // _ASKED:
            width = len(self._layout.features)
            what = f"more than {self.count:,} rows of {width:,} features"
            size = self.count * (8 * width + 64)  # to be held together, and in order
            require_memory(self._path, what, size, "Write it with `grulight pack`.")

    def rows(self) -> Rows:
        """Return all rows that were added."""
        layout, place = self._layout, self._place()
        return Rows(
            _merged(self._sequences),
            None if layout.label is None else _merged(self._labels),
            None if layout.time is None else merged_times(self._path, self._times, place),
            np.concatenate(self._features),
            layout,
            place,
            self._digits.notes(self._path, [layout.names[i] for i in layout.features]),
            self._digits.offset(),
            None if layout.group is None else _merged(self._groups),
            None if layout.weight is None else _merged(self._weights),
        )

    def _place(self) -> Callable[[int], str]:
        places = self._places
        starts = np.cumsum([0, *map(len, self._features)])

        def place(row: int) -> str:
            block = int(np.searchsorted(starts, row, side="right")) - 1
            return places[block](row - int(starts[block]))

        return place


def _merged(parts: Sequence[Texts]) -> Texts:
    index: dict[str, int] = {}
    codes = []
    for part in parts:
        numbers = [index.setdefault(name, len(index)) for name in part.names]
        codes.append(np.array(numbers, np.int64)[part.codes])
    return Texts(list(index), np.concatenate(codes))
