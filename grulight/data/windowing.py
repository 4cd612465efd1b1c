"""Series in windows, split by time: no window of a part sees steps of another."""

import numpy as np

from grulight.data.lazy_values import Positions
from grulight.data.partition import number_of
from grulight.data.sequences import Sequences
from grulight.data.sources import Notes
from grulight.data.windows import Windows
from grulight.errors import InputError, option

_CHUNK = 1 << 20  # values read at once


def windowed_parts(
    windows: Windows, found: list[Sequences], train_size: float, val_size: float, notes: Notes
) -> tuple[Sequences, Sequences, Sequences]:
    """Return the windows that train, validate and test.

    Of each series the first steps train, those after them validate and the last ones test; a
    window belongs to a part if all its steps and its target do.

    Args:
        windows: How series are cut.
        found: The series; or those that train and validate, and those that test.
        train_size: Share of the steps of each series that train or validate, or their number.
        val_size: Share of these that validate, or their number.
        notes: Takes in what the user should know.

    Raises:
        InputError: No training window fits into a series.
    """
    first, test = found[0], found[-1]
    kept = first.lengths if len(found) == 2 else _steps(train_size, first.lengths, "train_size")
    trained = kept - _steps(val_size, kept, "val_size")
    tested = np.zeros_like(test.lengths) if len(found) == 2 else kept
    parts = (
        _part(windows, "training", first, np.zeros_like(trained), trained, notes),
        _part(windows, "validation", first, trained, kept, notes),
        _part(windows, "test", test, tested, test.lengths, notes),
    )
    if not len(parts[0]) and (trained.any() or not len(parts[2])):
        raise InputError(
            f"{first.source}: no series has enough steps that train for {windows.words}: the "
            f"longest has {trained.max()} of {first.lengths.max()}. Use a shorter "
            f"{option('data.window')}."
        )
    return parts


def windows_of_all(windows: Windows, found: list[Sequences], notes: Notes) -> list[Sequences]:
    """Return every window of the series, also those whose target is not known yet.

    Raises:
        InputError: No window fits into a series.
    """
    parts = [windows.unlabelled(series) for series in found]
    for series in found:
        if short := int((series.lengths < windows.length).sum()):
            notes[
                f"{series.source}: {short} of {len(series)} series have fewer than "
                f"{windows.length} steps, and so no forecast."
            ] = None
    if not any(map(len, parts)):
        raise InputError(
            f"{found[0].source}: no series has the {windows.length} steps of a window; the longest "
            f"has {found[0].lengths.max()}."
        )
    return parts


def last_value_error(windows: Windows, part: Sequences) -> float | None:
    """Return how far the last value of each window is off, in the mean, as a forecast.

    None where the windows do not hold the past of what is forecast.
    """
    names = part.feature_names
    if windows.target in names:
        at = names.index(windows.target)
    elif len(names) == 1 and windows.inputs is None:
        at = 0
    else:
        return None
    offset = 0.0 if part.offset is None else part.offset[at]
    at_once = max(1, _CHUNK // (windows.length * len(names)))
    total = 0.0
    for start in range(0, len(part), at_once):
        some = part.part(start, start + at_once)
        assert some.labels is not None
        last = np.asarray(some.values[:, :])[:, -1, at].astype(np.float64) + offset
        total += float(np.abs(some.labels[:, 0] - last).sum())
    return total / len(part)


def _part(
    windows: Windows,
    name: str,
    series: Sequences,
    begins: Positions,
    ends: Positions,
    notes: Notes,
) -> Sequences:
    part, missing = windows.labelled(series, begins, ends)
    notes.update(dict.fromkeys(part.notes))
    if missing:
        notes[
            f"{series.source}: {missing} windows of the {name} part are left out, as the value to "
            "forecast is missing."
        ] = None
    steps = ends - begins
    if short := int(((steps > 0) & (steps < windows.length + windows.horizon)).sum()):
        notes[
            f"{series.source}: {short} of {len(series)} series have too few steps in the {name} "
            f"part for {windows.words}."
        ] = None
    return part


def _steps(size: float, lengths: Positions, name: str) -> Positions:
    """Return how many steps of each series a share, or a number of them, is."""
    most = number_of(size, int(lengths.max()), name, "steps")
    shares = np.round(size * lengths).astype(np.int64)
    return shares if size <= 1 else np.minimum(most, lengths)
