"""Inputs at the edge: what real data hold sooner or later and random ones do not.

One sequence, more than a batch, a single step, rows masked throughout, padding from the left up to
the last step, negative and huge numbers, which saturate every gate.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from grulight.errors import InputError
from grulight.keras_files.layers.network import trace
from grulight.keras_files.plan.spec import Graph
from parity.keras_files.inputs import Input
from parity.question import Arrays, Question

ONE, MANY, STEP = "one_sequence", "thirty_three_sequences", "one_step"
MASKED, NEGATIVE, HUGE = "rows_masked_throughout", "negative_inputs", "huge_inputs"
EDGES = (ONE, MANY, STEP, MASKED, NEGATIVE, HUGE)
ROWS = 7
HUGE_BY = 2.0**13  # far beyond where gates saturate, and squares of it still fit float32
AGREED_WITHOUT_NUMBERS = "Both sides have the same NaN or infinity in places of {}."


def edges(graph: Graph, inputs: tuple[Input, ...], random: Question) -> Iterator[Question]:
    """Yield questions for the outputs with random weights, for whatever the model can take."""

    def asked(name: str, drawn: Arrays) -> Question:
        return replace(random, name=name, task="forward", inputs=drawn)

    rng = np.random.default_rng(50)
    yield asked(ONE, drawn_by(inputs, 1, rng))
    yield asked(MANY, drawn_by(inputs, 33, rng))
    if (single := of_one_step(graph, inputs)) is not None:
        yield asked(STEP, drawn_by(single, ROWS, rng))
    drawn = drawn_by(inputs, ROWS, rng)
    if masks := [name for name in drawn if name.startswith("masked.")]:
        every = {n: np.roll(masked_throughout(drawn[n]), at, 0) for at, n in enumerate(masks)}
        yield asked(MASKED, drawn | every)
    given = {f"input.{each.name}": each.kind == "mask" for each in inputs}
    if named := [name for name, mask in given.items() if mask]:
        yield asked(MASKED, drawn | {name: ~masked_throughout(~drawn[name]) for name in named})
    floats = [name for name in given if drawn[name].dtype.kind == "f"]
    if floats:
        yield asked(NEGATIVE, drawn | {name: -8 * np.abs(drawn[name]) for name in floats})
        yield asked(HUGE, drawn | {name: HUGE_BY * drawn[name] for name in floats})


def drawn_by(inputs: tuple[Input, ...], rows: int, rng: np.random.Generator) -> Arrays:
    """Draw so many rows of every input."""
    drawn: Arrays = {}
    for turn, each in enumerate(inputs):
        drawn |= each.draw(rows, rng, turn)
    return drawn


def of_one_step(graph: Graph, inputs: tuple[Input, ...]) -> tuple[Input, ...] | None:
    """Return the inputs with one step where the file leaves their number open, if it can be."""
    pairs = [*zip(inputs, graph.shapes, strict=True)]
    if not any(len(raw) > 1 and raw[1] is None for _, raw in pairs):
        return None
    short = tuple(
        replace(each, shape=(None, 1, *each.shape[2:])) if raw[1:2] == (None,) else each
        for each, raw in pairs
    )
    try:
        seen = trace(graph, tuple(each.shape for each in short)).values()
    except InputError:
        return None
    return short if all(size is None or size > 0 for shape in seen for size in shape) else None


def masked_throughout(masked: np.ndarray) -> np.ndarray:
    """Mask all of the first and the fifth row, but the last step, but the first, and one hole."""
    steps = masked.shape[-1]
    rows = masked.reshape(-1, steps).copy()
    rows[0::4] = True
    rows[1::4] = np.arange(steps) < steps - 1
    rows[2::4] = np.arange(steps) > 0
    rows[3::4] = np.arange(steps) == steps // 2
    return rows.reshape(masked.shape)
