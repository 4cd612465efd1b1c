"""A table without a column that names sequences, whose rows are one long series."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as arrow

from grulight.data.readers.table_blocks import Block
from grulight.data.readers.table_columns import Layout


def as_one_series(layout: Layout, blocks: Iterator[Block]) -> tuple[Layout, Iterator[Block]]:
    """Return the columns and the rows with one that names every row's sequence 0."""
    at = len(layout.names)
    named = replace(layout, names=[*layout.names, "sequence"], sequence=at)

    def with_names() -> Iterator[Block]:
        for block in blocks:
            codes = arrow.array(np.zeros(block.count, np.int32))
            names = arrow.DictionaryArray.from_arrays(codes, arrow.array(["0"]))
            yield replace(block, columns=block.columns | {at: arrow.chunked_array([names])})

    return named, with_names()
