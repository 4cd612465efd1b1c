"""Long tables, one row per time step, become padded sequences."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.hints import fill, likely_order
from grulight.data.readers.memory import require_memory
from grulight.data.readers.messages import bad
from grulight.data.readers.names import name_array
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.table_columns import ColumnNames
from grulight.data.readers.table_labels import REMEDY, groups_of, labels_of, weights_of
from grulight.data.readers.table_rows import Rows
from grulight.errors import option

_LABEL = 10  # bytes that each label of a step takes while it becomes an index


def padded_sequences(path: str, rows: Rows, columns: ColumnNames) -> RawSequences:
    """Gather the rows of each sequence, in order of time, and pad them to the longest.

    Labels of the rows become (N, T), with zeros or empty texts for padding.

    Raises:
        InputError: As ``gathered``, or there is too little memory.
    """
    raw = gathered(path, rows, columns)
    assert raw.lengths is not None
    count, steps = len(raw.lengths), int(raw.lengths.max())
    labels = raw.labels if columns.targets.per_step else None
    width = raw.values.itemsize * raw.values.shape[1]
    if labels is not None:
        width += labels.itemsize + _LABEL
    what = f"padding {count:,} sequences to {steps:,} steps"
    require_memory(path, what, count * steps * width, REMEDY)
    # where each row goes; a mask of all steps would take memory for the padding
    skipped = np.arange(count) * steps - (np.cumsum(raw.lengths) - raw.lengths)
    place = np.repeat(skipped, raw.lengths)
    place += np.arange(len(place))
    values = _spread(raw.values, place, (count, steps))
    if labels is not None:
        raw = replace(raw, labels=_spread(labels, place, (count, steps)))
    return replace(raw, values=values, is_whole=True)


def _spread(rows: NDArray[Any], place: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[Any]:
    """Return rows (R, ...) at their places among (N · T), zeros elsewhere, as (N, T, ...)."""
    spread = np.zeros((shape[0] * shape[1], *rows.shape[1:]), rows.dtype)
    spread[place] = rows
    return spread.reshape(*shape, *rows.shape[1:])


def gathered(path: str, rows: Rows, columns: ColumnNames) -> RawSequences:
    """Gather the rows of each sequence, in order of time: values (R, F), without padding.

    Where labels per step are asked for, there are R of them, else N.

    Raises:
        InputError: A cell is empty or not finite, a label or group changes within a sequence, or a
            time is there twice.
    """
    column = rows.layout.names[rows.layout.sequence or 0]
    ids = name_array(path, f"column {column!r}", rows.sequences.names)
    _check_cells(path, rows, missing=columns.missing)
    _refuse_order_as_feature(path, rows, columns)
    order = _order(path, rows)
    labels = labels_of(path, rows, columns)
    if labels is not None and columns.targets.per_step:
        labels = labels[order]
    names, label = rows.layout.names, rows.layout.label
    return RawSequences(
        values=rows.features[order],
        labels=labels,
        lengths=np.bincount(rows.sequences.codes, minlength=len(ids)),
        feature_names=[names[i] for i in rows.layout.features],
        ids=ids,
        groups=groups_of(path, rows),
        weights=weights_of(path, rows),
        names={"y": "a label column" if label is None else f"column {names[label]!r}"},
        notes=rows.layout.notes + rows.notes,
        needed_offset=rows.needed_offset,
    )


def _refuse_order_as_feature(path: str, rows: Rows, columns: ColumnNames) -> None:
    layout = rows.layout
    if layout.has_steps or columns.features is not None:
        return
    names = [layout.names[i] for i in layout.features]
    timed = layout.time is not None
    if (found := likely_order(names, rows.features, rows.sequences.codes, timed=timed)) is not None:
        name, what = found
        order = "" if timed else f"Say {option('data.time', name)} to order the rows by it, or list"
        raise bad(
            path,
            f"column {name!r} looks like {what}, and would be a feature. {order or 'List'} the "
            f"features, with or without it, as {option('data.features')}.",
        )


def _check_cells(path: str, rows: Rows, *, missing: bool) -> None:
    names = rows.layout.names
    if "" in rows.sequences.names:
        first = int((rows.sequences.codes == list(rows.sequences.names).index("")).argmax())
        raise bad(
            path, f"{rows.place(first)}, column {names[rows.layout.sequence or 0]!r}: empty cell."
        )
    wrong = np.isinf(rows.features) if missing else ~np.isfinite(rows.features)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        name = names[rows.layout.features[column]]
        hint = f" {fill(name)}" if np.isnan(rows.features[row, column]) else ""
        raise bad(
            path,
            f"{wrong.sum()} cells are NaN, infinite or too large for float32; the first is on "
            f"{rows.place(row)}, column {name!r}.{hint}",
        )


def _order(path: str, rows: Rows) -> NDArray[np.int64]:
    """Return the rows by sequence, and by time within it."""
    codes, times = rows.sequences.codes, rows.times
    order: NDArray[np.int64] = np.argsort(codes, kind="stable")
    if times is None:
        return order
    order = np.lexsort((times, codes))
    same = (np.diff(codes[order]) == 0) & (times[order][1:] == times[order][:-1])
    if same.any():
        at = int(same.argmax())
        first, second = order[at], order[at + 1]
        raise bad(
            path,
            f"{rows.place(second)}: the time is the same as on {rows.place(first)}, in sequence "
            f"{rows.sequences.names[codes[second]]!r} ({same.sum()} such). Keep one of them, or "
            f"say {option('data.time', 'COLUMN')} for another.",
        )
    return order
