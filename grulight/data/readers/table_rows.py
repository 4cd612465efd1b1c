"""The rows of a long table, as its readers hand them on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.offsets import Offset
from grulight.data.readers.table_columns import Layout


@dataclass(frozen=True)
class Texts:
    """A column of R texts: ``names[codes[row]]``, the names in order of first appearance."""

    names: Sequence[str]
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """The R rows of a table.

    Attributes:
        sequences: Which sequence each row belongs to.
        labels: Its label, or None where the table has none.
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
