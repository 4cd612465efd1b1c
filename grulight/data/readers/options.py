"""How a source is read."""

from dataclasses import dataclass, field
from typing import Literal

from grulight.data.readers.offsets import Offset
from grulight.data.readers.table_columns import ColumnNames, TableLayout
from grulight.data.readers.targets import Wish


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        part: Which part of a source that brings its own test part.
        label: Column of a table with the labels; None if it has none.
        sequence: Column of a table that says which sequence a row belongs to.
        time: Column of a table that orders the rows of a sequence, where there is one.
        group: Column of a table that says which group a sequence belongs to.
        weight: Column of a table with the weight of each sequence.
        features: ColumnNames of a table that are features; by default all others.
        labels_file: Labels (.npy) of a ``.npy`` source.
        lengths_file: Sequence lengths (.npy) of a ``.npy`` source.
        require_labels: Whether a source without labels is an error.
        targets: Whether labels are classes or values, for sequences or for steps.
        separator: Sign between the cells of a text table; recognised if None.
        decimal: Decimal sign of its numbers, ``.`` or ``,``; recognised if None.
        encoding: Of a text table that is neither UTF-8 nor has a byte order mark.
        layout: Whether a table has one row per time step (long) or per sequence (wide).
        steps: How the columns of a wide table are called, such as ``{feature}_{step}``.
        missing: Whether values may be missing, which are NaN then.
        offset: What to subtract from each feature before it is rounded to float32.
        scratch: Directory for what a compressed .npz has to be unpacked to, if it is not to be
            read into memory.
        series: Whether a table without a column that names sequences is one, a long series.
    """

    part: Literal["train", "test"] = "train"
    label: str | None = "label"
    sequence: str = "sequence"
    time: str = "time"
    features: tuple[str, ...] | None = None
    labels_file: str | None = None
    lengths_file: str | None = None
    require_labels: bool = True
    targets: Wish = field(default_factory=Wish)
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    layout: TableLayout = "long"
    steps: str | None = None
    missing: bool = False
    offset: Offset | None = None
    scratch: str | None = None
    group: str | None = None
    weight: str | None = None
    series: bool = False


def columns_of(options: ReadOptions) -> ColumnNames:
    """Return what the columns of a table are called."""
    return ColumnNames(
        options.sequence,
        options.time,
        options.label,
        options.features,
        require_labels=options.require_labels,
        targets=options.targets,
        separator=options.separator,
        decimal=options.decimal,
        encoding=options.encoding,
        layout=options.layout,
        steps=options.steps,
        missing=options.missing,
        offset=options.offset,
        group=options.group,
        weight=options.weight,
        series=options.series,
    )
