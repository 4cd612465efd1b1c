"""Tables with one row per sequence become long ones, with one row per time step.

The steps of a row are columns of their own (a wide table) or lists within its cells.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray
from pyarrow import compute

from grulight.data.readers.arrow_columns import Place, Texts, as_numbers, as_texts
from grulight.data.readers.messages import bad
from grulight.data.readers.table_blocks import Block
from grulight.data.readers.table_columns import Layout
from grulight.data.readers.wide_columns import Grid


class RowEach:
    """Makes a long table of one whose rows are sequences.

    Args:
        path: The table, for messages.
        layout: Its columns.
        features: Names of its features.
        grid: Where the steps of each are; None where they are lists.

    Attributes:
        long: The columns of the long table.
    """

    def __init__(
        self, path: str, layout: Layout, features: Sequence[str], grid: Grid | None
    ) -> None:
        self._path, self._layout, self._grid = path, layout, grid
        uses = {
            use: at
            for use in ("label", "group", "weight", "time")
            if (at := getattr(layout, use)) is not None
        }
        others = [layout.names[at] for at in uses.values()]
        places = {use: at for at, use in enumerate(uses, start=1)}
        first = "sequence" if layout.sequence is None else layout.names[layout.sequence]
        start = 1 + len(others)
        self.long = Layout(
            [first, *others, *features],
            sequence=0,
            time=places.get("time"),
            label=places.get("label"),
            group=places.get("group"),
            weight=places.get("weight"),
            features=range(start, start + len(features)),
            notes=layout.notes,
            has_steps=True,
        )

    def blocks(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Yield the rows of the long table.

        Raises:
            InputError: A sequence comes twice or has no steps, or a cell is wrong.
        """
        seen: set[str] = set()
        count = 0
        for block in blocks:
            values, lengths = (self._listed if self._grid is None else self._wide)(block)
            if (lengths == 0).any():
                place = block.place(int((lengths == 0).argmax()))
                raise bad(self._path, f"{place}: the sequence has no values.")
            owners = np.repeat(np.arange(block.count), lengths)
            columns = {0: self._ids(block, count, seen).take(owners)}
            for use in ("label", "group", "weight"):
                at, source = getattr(self.long, use), getattr(self._layout, use)
                if at is not None and source is not None:
                    columns[at] = block.columns[source].take(owners)
            if self.long.time is not None:
                columns[self.long.time] = arrow.chunked_array([self._times(block, lengths)])
            for at, feature in enumerate(values, start=self.long.features[0]):
                columns[at] = arrow.chunked_array([feature])
            count += block.count
            yield Block(columns, len(owners), _Place(block.place, owners), block.share)

    def _ids(self, block: Block, first: int, seen: set[str]) -> Any:
        at = self._layout.sequence
        if at is None:
            names = list(map(str, range(first, first + block.count)))
            return arrow.chunked_array([arrow.array(names)])
        texts: Texts = as_texts(self._path, self._layout.names[at], block.columns[at])
        for row, code in enumerate(texts.codes.tolist()):
            name = texts.names[code]
            if name in seen:
                problem = f"sequence {name!r} is there twice, expected one row for each."
                raise bad(self._path, f"{block.place(row)}: {problem}")
            seen.add(name)
        return block.columns[at]

    def _wide(self, block: Block) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the steps of all rows (F, S), without NaN at their ends, and how many each has."""
        assert self._grid is not None
        names = self._layout.names
        cells = np.array(
            [
                as_numbers(self._path, names[at], block.columns[at], block.place, missing=True)
                for at in self._grid.columns.ravel().tolist()
            ]
        ).reshape(*self._grid.columns.shape, block.count)
        there = ~np.isnan(cells).all(axis=0)  # (T, rows)
        lengths = np.where(there.any(axis=0), len(there) - there[::-1].argmax(axis=0), 0)
        valid = np.arange(len(there)) < lengths[:, None]
        return cells.transpose(0, 2, 1)[:, valid], lengths

    def _listed(self, block: Block) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
        """Return the steps of all rows (S,) for each feature, and how many each has."""
        values = list[NDArray[np.float64]]()
        expected: NDArray[np.int64] | None = None
        for at in self._layout.features:
            flat, lengths = self._flat(block, at, expected)
            expected = lengths
            name = self._layout.names[at]
            if is_nested(flat.type):
                problem = "has lists of lists, expected a column of lists for each feature"
                raise bad(self._path, f"column {name!r} {problem}; an array goes into an .npz.")
            place = _Place(block.place, np.repeat(np.arange(block.count), lengths))
            column = arrow.chunked_array([flat])
            values.append(as_numbers(self._path, name, column, place, missing=True))
        assert expected is not None
        return values, expected

    def _times(self, block: Block, lengths: NDArray[np.int64]) -> Any:
        assert self._layout.time is not None
        return self._flat(block, self._layout.time, lengths)[0]

    def _flat(
        self, block: Block, at: int, expected: NDArray[np.int64] | None
    ) -> tuple[Any, NDArray[np.int64]]:
        """Return the cells of all lists of a column, and how many each has."""
        name, kind = self._layout.names[at], block.columns[at].type
        if not is_nested(kind):
            raise bad(self._path, f"column {name!r} holds {kind}, but others hold lists.")
        column = arrow.concat_arrays(block.columns[at].chunks)
        sizes = compute.list_value_length(column).fill_null(0)
        lengths = np.asarray(sizes, np.int64)
        if expected is not None and (wrong := lengths != expected).any():
            row = int(wrong.argmax())
            problem = f"has a list of {lengths[row]}, expected {expected[row]} as before it."
            raise bad(self._path, f"{block.place(row)}: column {name!r} {problem}")
        return column.flatten(), lengths


def is_nested(kind: Any) -> bool:
    """Return whether the cells of a column of this Arrow type are lists."""
    types = arrow.types
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(test(kind) for test in tests)


class _Place:
    def __init__(self, place: Place, owners: NDArray[np.int64]) -> None:
        self._place, self._owners = place, owners

    def __call__(self, row: int) -> str:
        return self._place(int(self._owners[row]))
