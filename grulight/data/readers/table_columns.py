"""Which columns of a long table hold the sequence, the time, the label and the features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grulight.data.readers.hints import is_index
from grulight.data.readers.messages import bad
from grulight.data.readers.names import name_array
from grulight.data.readers.offsets import Offset
from grulight.data.readers.targets import Wish
from grulight.errors import listed, option

TableLayout = Literal["long", "wide"]
_DEFAULT_SEQUENCE, _DEFAULT_TIME = "sequence", "time"
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
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    layout: TableLayout = "long"
    steps: str | None = None
    missing: bool = False
    group: str | None = None
    weight: str | None = None
    series: bool = False


@dataclass(frozen=True)
class Layout:
    """The positions of the columns in a table, and what the user should know of the others.

    Attributes:
        names: Of all columns.
        sequence: None where each row is a sequence, or all are one, and none has a name.
        time: None where there is no such column.
        label: Likewise.
        group: Likewise.
        weight: Likewise.
        features: One for each.
        notes: A line each.
        has_steps: Whether the rows are in order of time, whatever the features are called.
    """

    names: Sequence[str]
    sequence: int | None
    time: int | None
    label: int | None
    features: Sequence[int]
    notes: tuple[str, ...] = ()
    has_steps: bool = False
    offset: Offset | None = None  # of each feature
    group: int | None = None
    weight: int | None = None


def find_columns(
    path: str,
    names: Sequence[str],
    wanted: ColumnNames,
    indices: Sequence[str] = (),
    *,
    row_each: bool = False,
) -> Layout:
    """Find the wanted columns among those that a table has.

    Args:
        path: The table.
        names: Its columns.
        wanted: What the columns are called.
        indices: Those that the table says are an index; they are features only if asked for.
        row_each: Whether each row is a sequence, so that it needs no name and has no time.

    Raises:
        InputError: A column is missing, unnamed, there twice, or of two uses.
    """
    name_array(path, "the name of a column", names)
    position = _positions(path, names)

    def at(name: str, use: str) -> int:
        if name not in position:
            shown = listed(names, like=[name])
            hint = _how_to_name(use, names)
            raise bad(path, f"has no {use} column {name!r} (columns: {shown}).{hint}")
        return position[name]

    nameless = (row_each or wanted.series) and wanted.sequence == _DEFAULT_SEQUENCE not in position
    sequence = None if nameless else at(wanted.sequence, "sequence")
    has_time = wanted.layout == "long" and (
        wanted.time in position or (wanted.time != _DEFAULT_TIME and not row_each)
    )
    time = at(wanted.time, "time") if has_time else None

    def of_labelled(name: str | None, use: str) -> int | None:
        needed = name is not None and (wanted.require_labels or name in position)
        return at(name, use) if needed and name is not None else None

    label = of_labelled(wanted.label, "label")
    group, weight = of_labelled(wanted.group, "group"), of_labelled(wanted.weight, "weight")
    others = [i for i in range(len(names)) if i not in (sequence, time, label, group, weight)]
    left_out: list[int] = []
    if wanted.features is None:
        left_out = [i for i in others if names[i] in indices or is_index(names[i])]
        features = [i for i in others if i not in left_out]
    elif row_each and wanted.layout == "wide":
        features = others
    else:
        features = [at(name, "feature") for name in wanted.features]
    _require_features(path, names, features, (sequence, label, group, weight))
    notes = _index_notes(path, [names[i] for i in left_out])
    return Layout(names, sequence, time, label, features, notes, group=group, weight=weight)


def _how_to_name(use: str, names: Sequence[str]) -> str:
    """Return what to do where the column of some use is missing."""
    if len(names) == 1 and " " in names[0]:
        return f" Where spaces stand between cells, say {option('data.separator', 'space')}."
    if use == "feature":
        return ""
    said = f" Say {option(f'data.{use}', 'COLUMN')} to name it"
    if use != "sequence":
        return f"{said}."
    return f"{said}, or {option('data.layout', 'wide')} where a row is a sequence."


def _require_features(
    path: str, names: Sequence[str], features: Sequence[int], others: Sequence[int | None]
) -> None:
    for index in others:
        if index is not None and index in features:
            raise bad(path, f"column {names[index]!r} cannot be a feature as well.")
    if not features:
        raise bad(path, f"has no feature column (columns: {listed(names)}).")


def _index_notes(path: str, left_out: Sequence[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    said = f"{path}: column {listed([*map(repr, left_out)])} is an index that pandas wrote, and no "
    return (f"{said}feature, unless {option('data.features')} names it.",)


def _positions(path: str, names: Sequence[str]) -> dict[str, int]:
    position = {name: index for index, name in enumerate(names)}
    if len(position) < len(names):
        twice = next(name for index, name in enumerate(names) if position[name] != index)
        raise bad(path, f"the header names column {twice!r} twice.")
    if "" in position:
        raise bad(
            path,
            f"column {position[''] + 1} has no name in the header. Name it there, or take it out.",
        )
    return position


def limit_rows(rows: float, layout: Layout) -> float:
    """Return how many rows to hold at once: ``rows``, or fewer in a table of many columns."""
    return max(1, min(rows, _CELLS // len(layout.features)))
