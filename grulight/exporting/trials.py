"""Batches that a checkpoint and its export are both asked about.

Random ones of several sizes, with sequences that end early, and some at the edge: what real data
hold sooner or later and random ones do not.
"""

import numpy as np

from grulight.exporting.inputs import Array, Input, Trial, fits
from grulight.exporting.subject import LENGTHS, Subject

# Sequences and steps of each trial, none of them the sizes that the exporter traces.
SIZES = ((1, 1), (2, 3), (33, 8), (5, 40))
EDGE_ROWS = 6
FAR = 32.0  # standard deviations, where every gate saturates


def trials(subject: Subject) -> dict[tuple[int, int], Trial]:
    """Return random batches that look like the training data, by their sequences and steps."""
    rng = np.random.default_rng(0)
    return {
        (count, subject.steps or steps): _drawn(subject, count, steps, rng)
        for count, steps in dict.fromkeys(
            (count, steps if _open(subject) else 0) for count, steps in SIZES
        )
        if fits(subject.graph, subject.inputs, steps)
    } or {(5, 63): _drawn(subject, 5, 63, rng), (2, 130): _drawn(subject, 2, 130, rng)}


def edges(subject: Subject) -> dict[str, Trial]:
    """Return batches at the edge, by what they are."""
    rng = np.random.default_rng(1)
    steps = next((n for n in (9, 21, 45, 93, 189) if fits(subject.graph, subject.inputs, n)), 9)
    found: dict[str, Trial] = {}
    for name, change in (("zeros", 0.0), ("far below", -FAR), ("far above", FAR)):
        trial = _drawn(subject, EDGE_ROWS, steps, rng)
        for each in subject.inputs:
            trial[each.name] = _moved(each, trial[each.name], change)
        found[name] = trial
    found["padded on the left, throughout, and with holes"] = _padded(
        subject, _drawn(subject, EDGE_ROWS, steps, rng)
    )
    return found


def _open(subject: Subject) -> bool:
    return any(each.open_axes for each in subject.inputs)


def _drawn(subject: Subject, count: int, steps: int, rng: np.random.Generator) -> Trial:
    """Draw a batch whose sequences end early, where lengths or padding tell."""
    trial: Trial = {}
    for each in subject.inputs:
        shape = each.sized(count, steps)
        values = each.draw(shape, rng)
        if len(shape) > 1 and each.kind != "mask":
            valid = rng.integers(1, shape[1] + 1, count)
            if subject.lengths:
                trial[LENGTHS] = valid
            elif each.padding is not None and _sequences(each):
                values[np.arange(shape[1]) >= valid[:, None]] = each.padding
        trial[each.name] = values
    return {name: trial[name] for name in subject.input_names}


def _sequences(given: Input) -> bool:
    return len(given.shape) > 2 or bool(given.ids)


def _moved(given: Input, values: Array, change: float) -> Array:
    if given.kind == "mask":
        return np.full_like(values, bool(change))
    if given.ids:
        return np.full_like(values, given.ids - 1 if change > 0 else 0)
    moved = given.mean + change * np.asarray(given.scale) * np.abs(values / (np.abs(values) + 1))
    return np.broadcast_to(moved, values.shape).astype(values.dtype)


def _padded(subject: Subject, trial: Trial) -> Trial:
    for turn, each in enumerate(subject.inputs):
        values = trial[each.name]
        if values.ndim < 2 or not (_sequences(each) or each.kind == "mask"):
            continue
        steps = values.shape[1]
        absent = np.zeros((EDGE_ROWS, steps), bool)
        absent[0] = True
        absent[1, : steps - 1] = True
        absent[2, 1:] = True
        absent[3, steps // 3 : 2 * steps // 3] = True
        # each input of a model pads other rows, so that where masks meet shows how
        values[np.roll(absent, turn, 0)] = each.kind != "mask" and (each.padding or 0.0)
    return trial
