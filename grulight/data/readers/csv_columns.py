"""Cells of text become numbers and names, and blocks of rows become one table."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.checks import as_float32, bad
from grulight.data.readers.digits import Digits
from grulight.data.readers.hints import advice
from grulight.data.readers.offsets import less
from grulight.data.readers.table_columns import Layout
from grulight.data.readers.table_rows import Rows, Texts
from grulight.data.readers.times import parse_times


class GatheredRows:
    """Rows that are added block by block."""

    def __init__(self, path: str, layout: Layout) -> None:
        self._path, self._layout = path, layout
        self._blocks: list[NDArray[np.float32]] = []
        self._sequences, self._labels, self._times = _TextCodes(), _TextCodes(), list[str]()
        self._digits = Digits(len(layout.features))
        self.lines: list[int] = []
        self.last = ""  # sequence

    def add(self, cells: Sequence[Sequence[str]], lines: list[int]) -> None:
        """Add a block: the texts of each column, and the line of each row."""
        layout = self._layout
        exact = less(_numbers(self._path, cells, layout, lines), layout.offset)
        self._blocks.append(as_float32(exact))
        self._digits.add(exact, self._blocks[-1])
        self._sequences.add(cells[layout.sequence])
        if layout.label is not None:
            self._labels.add(cells[layout.label])
        if layout.time is not None:
            self._times.extend(cells[layout.time])
        self.lines.extend(lines)
        self.last = cells[layout.sequence][-1]

    def rows(self) -> Rows:
        """Return all rows that were added."""
        layout = self._layout

        def place(row: int) -> str:
            return f"line {self.lines[row]}"

        return Rows(
            self._sequences.texts(),
            None if layout.label is None else self._labels.texts(),
            None if layout.time is None else parse_times(self._path, self._times, place),
            np.concatenate(self._blocks),
            layout,
            place,
            self._digits.notes(self._path, [layout.names[i] for i in layout.features]),
            self._digits.offset(),
        )


def _numbers(
    path: str, cells: Sequence[Sequence[str]], layout: Layout, lines: Sequence[int]
) -> NDArray[np.float64]:
    numbers = np.empty((len(lines), len(layout.features)))
    for target, column in enumerate(layout.features):
        texts = cells[column]
        # float() takes 1_000 for a number, which no other reader of the file would.
        if "_" in "".join(texts):
            _refuse_cell(path, texts, layout.names[column], lines)
        try:
            numbers[:, target] = np.fromiter(map(float, texts), np.float64, len(texts))
        except ValueError:
            _refuse_cell(path, texts, layout.names[column], lines)
    return numbers


def _refuse_cell(path: str, texts: Sequence[str], column: str, lines: Sequence[int]) -> None:
    for text, line in zip(texts, lines, strict=True):
        if not _is_number(text):
            problem = f"{text[:40]!r} is not a number" if text.strip() else "empty cell"
            raise bad(path, f"line {line}, column {column!r}: {problem}.{advice(column)}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


class _TextCodes:
    """Numbers texts in order of first appearance."""

    def __init__(self) -> None:
        self._index: defaultdict[str, int] = defaultdict()
        self._index.default_factory = self._index.__len__
        self._codes: list[NDArray[np.int64]] = []

    def add(self, texts: Sequence[str]) -> None:
        codes = map(self._index.__getitem__, texts)
        self._codes.append(np.fromiter(codes, np.int64, len(texts)))

    def texts(self) -> Texts:
        return Texts(list(self._index), np.concatenate(self._codes))
