"""Windows of long series, from each of which a later value of a feature is forecast."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.lazy_values import Positions, StoredValues, stretches_of
from grulight.data.readers import ReadOptions
from grulight.data.readers.digits import Digits
from grulight.data.readers.targets import Wish
from grulight.data.sequences import Sequences
from grulight.errors import InputError, listed, option

_CHUNK = 1 << 20  # values read at once
_MOST = 1 << 31  # steps


@dataclass(frozen=True)
class Windows:
    """What a forecast is made from, and of what.

    A window is ``length`` steps of a series that follow each other. Its label is the value of
    ``target`` ``horizon`` steps after the last of them.

    Attributes:
        target: Name of a feature; a source with a single one needs none.
        inputs: Names of the features of a window; None for all, the target included.
    """

    length: int
    horizon: int
    target: str
    inputs: tuple[str, ...] | None = None

    @property
    def words(self) -> str:
        """A window and its target in words."""
        return f"a window of {self.length} steps and the value {self.horizon} after it"

    def columns(self, wanted: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Return the features of a table that have to be read for these inputs."""
        if wanted is None or self.target in wanted:
            return wanted
        return (*wanted, self.target)

    def labelled(
        self, series: Sequences, begins: Positions, ends: Positions
    ) -> tuple[Sequences, int]:
        """Return the windows that lie, target included, within a stretch of each series.

        Args:
            series: S series.
            begins: (S,) the step at which the stretch of each begins.
            ends: (S,) the step after its last.

        Returns:
            The windows, series by series in order of time; and how many more there were whose
            target is missing.

        Raises:
            InputError: The target is not known, or the values allow no windows.
        """
        target = self._target(series)
        which, firsts = _places(begins, ends - (self.length + self.horizon - 1), 1)
        labels, notes = self._labels(series, target, which, firsts)
        there = np.isfinite(labels)
        found = self._cut(series, which[there], firsts[there])
        pieces, starts = _places(begins, ends, self.length)
        lengths = np.minimum(self.length, ends[pieces] - starts)
        once = replace(self._cut(series, pieces, starts), lengths=lengths)
        found = replace(found, labels=labels[there][:, None], once=once, notes=notes)
        return found, int((~there).sum())

    def unlabelled(self, series: Sequences) -> Sequences:
        """Return all windows, also those whose target is not known yet."""
        begins = np.zeros_like(series.lengths)
        return self._cut(series, *_places(begins, series.lengths - (self.length - 1), 1))

    def _cut(self, series: Sequences, which: Positions, firsts: Positions) -> Sequences:
        """Return the windows of some series that begin at some steps; nothing is copied."""
        at = self._inputs(series)
        read_stretches = stretches_of(series.values, series.source)
        every = at == [*range(len(series.feature_names))]

        def read(positions: Positions, steps: int) -> NDArray[np.float32]:
            values = read_stretches(which[positions], firsts[positions], steps)
            return (values if every else values[:, :, at]).astype(np.float32, copy=False)

        values: Any = StoredValues(read, (len(which), self.length, len(at)))
        forecast = firsts + (self.length - 1 + self.horizon)
        # as wide as they need to be: there may be millions
        digits = len(str(series.values.shape[1] + self.horizon))
        stem = np.char.add(series.ids, "@")[which]
        return Sequences(
            values=values,
            lengths=np.full(len(which), self.length),
            labels=None,
            class_names=(),
            feature_names=tuple(series.feature_names[i] for i in at),
            ids=np.char.add(stem, forecast.astype(f"U{digits}")),
            source=series.source,
            offset=None if series.offset is None else tuple(series.offset[i] for i in at),
        )

    def _labels(
        self, series: Sequences, target: int, which: Positions, firsts: Positions
    ) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        labels, digits = np.empty(len(which), np.float32), Digits(1)
        read = stretches_of(series.values, series.source)
        offset = 0.0 if series.offset is None else series.offset[target]
        at_once = max(1, _CHUNK // len(series.feature_names))
        after = firsts + (self.length - 1 + self.horizon)
        for start in range(0, len(which), at_once):
            some = slice(start, start + at_once)
            values = read(which[some], after[some], 1)[:, 0, target]
            exact = values.astype(np.float64) + offset
            labels[some] = exact
            digits.add(exact[:, None], labels[some, None])
        what = f"the values of {series.feature_names[target]!r}"
        return labels, digits.value_notes(series.source, what)

    def _target(self, series: Sequences) -> int:
        names = series.feature_names
        if self.target in names:
            return names.index(self.target)
        if len(names) == 1:
            return 0
        raise InputError(
            f"{series.source}: has no feature {self.target!r} to forecast (features: "
            f"{listed(names, like=[self.target])}). Name one by {option('data.label')}."
        )

    def _inputs(self, series: Sequences) -> list[int]:
        names = series.feature_names
        return [names.index(name) for name in self.inputs or names]


def _places(begins: Positions, ends: Positions, stride: int) -> tuple[Positions, Positions]:
    """Return which series (N,), and which step of it (N,), for each place from begin to end."""
    counts = np.maximum(0, -(-(ends - begins) // stride))
    which = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, begins[which] + within * stride


def windows_asked(
    length: int | None, horizon: int, target: str, inputs: tuple[str, ...] | None
) -> Windows | None:
    """Return how series are cut, as ``Windows`` says; None where nobody asks for it.

    Raises:
        InputError: A number is out of range.
    """
    for name, value in (("window", length), ("horizon", horizon)):
        if value is not None and not 1 <= value <= _MOST:
            raise InputError(f"{option(f'data.{name}', value)}: expected 1 to {_MOST} steps.")
    if length is None and horizon != 1:
        raise InputError(
            f"{option('data.horizon', horizon)}: is for windows; say {option('data.window')} too."
        )
    return None if length is None else Windows(length, horizon, target, inputs)


def require_no_others(others: Mapping[str, object], labels: Wish) -> None:
    """Refuse options that have no meaning for windows.

    Args:
        others: Such options by their names; empty, or positional, where nobody asked for them.
        labels: What labels of the source's own would be.

    Raises:
        InputError: There is one.
    """
    kind = labels.kind if labels.kind == "classes" else None
    for name, said in {**others, "targets": kind, "per_step": labels.per_step}.items():
        if said and said != "positional":
            raise InputError(
                f"{option(f'data.{name}', said)}: is not for windows ({option('data.window')}), "
                f"which are split by time and forecast the values of {option('data.label')}. Leave "
                "it out."
            )


def series_options(options: ReadOptions) -> ReadOptions:
    """Return how series are read, whose label is one of their features."""
    return replace(options, label=None, require_labels=False, targets=Wish(), series=True)
