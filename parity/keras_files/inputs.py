"""What to feed a model that a file describes: floats, ids where an Embedding reads, and masks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from grulight.keras_files.layers.network import trace
from grulight.keras_files.plan.spec import Graph, LayerSpec, Ref, Shape
from parity.question import Array, Arrays, Question

PASSING = ("Masking", "Dropout", "SpatialDropout1D")  # what they read is what the input holds
SHAPING = ("Flatten", "Reshape", "Permute", "RepeatVector")
STEPS = (7, 15, 31, 63, 127, 255)  # tried in turn where a file leaves the number of steps open


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: Its name.
        shape: Its shape, the batch first and None.
        kind: Numbers, ids of an Embedding, or a mask that is given by name.
        ids: How many ids there are.
        masked_by: The value that every feature of a masked step has.
    """

    name: str
    shape: Shape
    kind: Literal["float", "ids", "mask"]
    ids: int = 0
    masked_by: float | None = None

    def draw(self, rows: int, rng: np.random.Generator, turn: int = 0) -> Arrays:
        """Draw values under ``input.``, and under ``masked.`` which steps are masked.

        ``turn`` lets each input of a model mask other rows, so that where masks meet shows how.
        """
        shape = (rows, *(size or 1 for size in self.shape[1:]))
        if self.kind == "mask":
            return {f"input.{self.name}": ~np.roll(masked_steps(shape), turn, 0)}
        if self.kind == "ids":
            low = 1 if self.masked_by is not None and self.ids > 1 else 0
            values: Array = rng.integers(low, self.ids, shape).astype(np.int32)
        else:
            values = single(rng.normal(size=shape))
            if self.masked_by is not None and shape[-1] > 1:
                # one feature alone does not mask its step
                values[..., ::3, 0] = self.masked_by
        found = {f"input.{self.name}": values}
        steps = shape if self.kind == "ids" else shape[:-1]
        if self.masked_by is not None and len(steps) > 1:
            found[f"masked.{self.name}"] = np.roll(masked_steps(steps), turn, 0)
        return found


def inputs_of(graph: Graph, weights: Mapping[str, Array]) -> tuple[Input, ...]:
    """Describe every input of a model, with a number of steps that the model can take."""
    found = [
        _input(graph, ref, shape, weights)
        for ref, shape in zip(graph.inputs, graph.shapes, strict=True)
    ]
    for steps in STEPS:
        sized = tuple(replace(each, shape=_sized(each, steps)) for each in found)
        shapes = trace(graph, tuple(each.shape for each in sized)).values()
        if all(size is None or size > 0 for shape in shapes for size in shape):
            break
    return sized


def fed(question: Question) -> Arrays:
    """Return what the model is called with, in order: masked steps take the value that masks."""
    found = {}
    for name, value in question.settings["inputs"].items():
        values = question.inputs[f"input.{name}"]
        masked = question.inputs.get(f"masked.{name}")
        if masked is not None:
            wide = masked.reshape(*masked.shape, *(1,) * (values.ndim - masked.ndim))
            values = np.where(wide, values.dtype.type(value), values)
        found[name] = values
    return found


def masked_steps(shape: tuple[int, ...]) -> Array:
    """Mask no step, the end, a hole, the start, or some at random, of one row after the other."""
    steps = shape[-1]
    rows = np.zeros((int(np.prod(shape[:-1])), steps), bool)
    rows[1::5, max(1, steps // 2) :] = True
    rows[2::5, steps // 3 : steps // 3 + max(1, steps // 4)] = True
    rows[3::5, : steps // 3] = True
    rows[4::5] = np.random.default_rng(8).random(rows[4::5].shape) < 0.3
    rows[:, 0] &= ~rows.all(axis=1)  # nothing is defined for a row that is masked throughout
    return rows.reshape(shape)


def _input(graph: Graph, ref: Ref, shape: Shape, weights: Mapping[str, Array]) -> Input:
    readers = list(readers_of(graph, ref))
    tables = [spec for _, spec in readers if spec.kind == "Embedding"]
    if any(ref in call.masks for call in graph.calls):
        return Input(ref.layer, shape, "mask")
    if tables:
        ids = min(spec.integer("input_dim") for spec in tables)
        zero = 0.0 if any(spec.flag("mask_zero") for spec in tables) else None
        return Input(ref.layer, shape, "ids", ids, zero)
    values = [spec.number("mask_value", 0.0) for _, spec in readers if spec.kind == "Masking"]
    if len(shape) > 1 and shape[-1] is None:
        features = (_features(weights, path, spec) for path, spec in readers)
        shape = (*shape[:-1], next((each for each in features if each), 3))
    return Input(ref.layer, shape, "float", masked_by=values[0] if values else None)


def readers_of(graph: Graph, ref: Ref, prefix: str = "") -> Iterator[tuple[str, LayerSpec]]:
    """Yield path and specification of the layers that read an input as it is."""
    for call in graph.calls:
        if ref not in call.inputs:
            continue
        spec, path = graph.layers[call.layer], prefix + call.layer
        if spec.kind == "TimeDistributed":
            spec = spec.inner["layer"]
        if spec.graph is not None:
            entry = spec.graph.inputs[call.inputs.index(ref) % len(spec.graph.inputs)]
            yield from readers_of(spec.graph, entry, f"{path}/")
            continue
        yield path, spec
        if spec.kind in PASSING + SHAPING:
            yield from readers_of(graph, Ref(call.layer, call.index, 0), prefix)


def _features(weights: Mapping[str, Array], path: str, spec: LayerSpec) -> int | None:
    """Return how many features a layer reads, as its kernel has it."""
    for name in (f"{path}/kernel", f"{path}/forward_layer/kernel"):
        if name in weights:
            return int(weights[name].shape[1 if spec.kind == "Conv1D" else 0])
    return None


def _sized(given: Input, steps: int) -> Shape:
    return (None, *(steps if size is None else size for size in given.shape[1:]))


def single(array: Array) -> Array:
    """Round to float32 and widen again: both precisions then start from the same numbers."""
    return array.astype(np.float32).astype(np.float64)
