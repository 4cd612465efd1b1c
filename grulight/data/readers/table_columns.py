"""Which columns of a long table hold the sequence, the time, the label and the features."""

from collections.abc import Sequence
from dataclasses import dataclass

from grulight.data.readers.checks import bad
from grulight.data.readers.hints import is_index
from grulight.data.readers.names import name_array
from grulight.data.readers.offsets import Offset, require_fit
from grulight.data.readers.targets import Wish
from grulight.errors import listed

_DEFAULT_TIME = "time"
_CELLS = 1 << 25  # of features, held at once where not the whole table is


@dataclass(frozen=True)
class ColumnNames:
    """What the columns of a table are called; see ``ReadOptions``."""

    sequence: str
    time: str
    label: str | None
    features: Sequence[str] | None
    require_labels: bool
    targets: Wish
    offset: Offset | None = None


@dataclass(frozen=True)
class Layout:
    """The positions of the columns in a table, and what the user should know of the others."""

    names: Sequence[str]
    sequence: int
    time: int | None
    label: int | None
    features: Sequence[int]
    notes: tuple[str, ...] = ()
    offset: Offset | None = None  # of each feature


def find_columns(
    path: str, names: Sequence[str], wanted: ColumnNames, indices: Sequence[str] = ()
) -> Layout:
    """Find the wanted columns among those that a table has.

    Args:
        path: The table.
        names: Its columns.
        wanted: What the columns are called.
        indices: Those that the table says are an index; they are features only if asked for.

    Raises:
        InputError: A column is missing, unnamed, there twice, or of two uses.
    """
    name_array(path, "the name of a column", names)
    position = _positions(path, names)

    def at(name: str, use: str) -> int:
        if name not in position:
            raise bad(
                path, f"has no {use} column {name!r} (columns: {listed(names, like=[name])})."
            )
        return position[name]

    sequence = at(wanted.sequence, "sequence")
    has_time = wanted.time in position or wanted.time != _DEFAULT_TIME
    time = at(wanted.time, "time") if has_time else None
    has_label = wanted.label is not None and (wanted.require_labels or wanted.label in position)
    label = at(wanted.label, "label") if has_label and wanted.label is not None else None
    left_out: list[str] = []
    if wanted.features is None:
        others = [i for i in range(len(names)) if i not in (sequence, time, label)]
        left_out = [names[i] for i in others if names[i] in indices or is_index(names[i])]
        features = [i for i in others if names[i] not in left_out]
    else:
        features = [at(name, "feature") for name in wanted.features]
    for index in (sequence, label):
        if index in features:
            raise bad(path, f"column {names[index]!r} cannot be a feature as well.")
    if not features:
        raise bad(path, f"has no feature column (columns: {listed(names)}).")
    said = f"{path}: column {listed([*map(repr, left_out)])} is an index that pandas wrote, and no "
    notes = (f"{said}feature; --data.features takes it for one.",) if left_out else ()
    require_fit(path, wanted.offset, [names[i] for i in features])
    return Layout(names, sequence, time, label, features, notes, wanted.offset)


def _positions(path: str, names: Sequence[str]) -> dict[str, int]:
    position = {name: index for index, name in enumerate(names)}
    if len(position) < len(names):
        twice = next(name for index, name in enumerate(names) if position[name] != index)
        raise bad(path, f"the header names column {twice!r} twice.")
    if "" in position:
        raise bad(path, f"column {position[''] + 1} has no name in the header.")
    return position


def limit_rows(rows: float, layout: Layout) -> float:
    """Return how many rows to hold at once: ``rows``, or fewer in a table of many columns."""
    return max(1, min(rows, _CELLS // len(layout.features)))
