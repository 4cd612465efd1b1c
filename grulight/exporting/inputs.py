"""What an exported model takes: its inputs by name, and batches of them to try."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grulight.errors import InputError
from grulight.keras_files.layers.network import PREFIX, TOOK_IDS, trace
from grulight.keras_files.plan.consumers import consumers_of
from grulight.keras_files.plan.spec import Graph, Ref, Shape
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.reader.untrusted_text import quote
from grulight.keras_files.sequence_ends import PASSING, masked_value

Array = NDArray[Any]
Trial = dict[str, Array]  # a batch: every input by its name

DTYPES = {"float": torch.float32, "ids": torch.int64, "mask": torch.bool}
LONGEST = (7, 15, 31, 63, 127, 255)  # sizes of open axes, tried until the model can take them


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: Its name.
        shape: Its shape, the batch first; None is any size.
        kind: Numbers, ids of an Embedding, or a mask of steps.
        ids: How many ids there are.
        padding: What stands for a step that is not there.
        mean: Of what it is fed with, per feature.
        scale: Standard deviation, likewise.
    """

    name: str
    shape: Shape
    kind: Literal["float", "ids", "mask", "whole"] = "float"
    ids: int = 0
    padding: float | None = None
    mean: Array | float = 0.0
    scale: Array | float = 1.0

    @property
    def dtype(self) -> torch.dtype:
        """What the file takes."""
        return DTYPES.get(self.kind, torch.float32)

    @property
    def open_axes(self) -> tuple[int, ...]:
        """Axes of any size, but for the batch."""
        return tuple(at for at, size in enumerate(self.shape) if size is None and at)

    def sized(self, batch: int, steps: int) -> tuple[int, ...]:
        """Return the shape of a batch with so many steps."""
        return (batch, *(steps if size is None else size for size in self.shape[1:]))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draw a batch."""
        if self.kind == "mask":
            return rng.random(shape) < 0.7
        if self.ids:
            dtype = np.float32 if self.kind == "whole" else np.int64
            return rng.integers(0, self.ids, shape).astype(dtype)
        return np.asarray(rng.normal(size=shape) * self.scale + self.mean, np.float32)


def inputs_of(model: PortedModel) -> tuple[Input, ...]:
    """Describe the inputs of a ported model.

    Raises:
        InputError: The file does not say how many features there are, and no size fits.
    """
    found = described(model.network.graph)
    if not any(_lacks_features(each) for each in found):
        return found
    sizes = sorted({each.shape[-1] for each in model.parameters() if each.dim() > 1})
    for size in (None, *sizes):
        sized = tuple(
            replace(each, shape=(*each.shape[:-1], size)) if _lacks_features(each) else each
            for each in found
        )
        if all(_runs(model, sized, steps) for steps in (14, 15)):
            return sized
    raise InputError(
        f"input {quote(found[0].name)} has the shape {found[0].shape}, and its number of features "
        "is not told by the weights. Save the Keras model with an Input of a known shape."
    )


def described(graph: Graph) -> tuple[Input, ...]:
    """Describe the inputs of a graph as its calls use them."""
    pairs = zip(graph.inputs, graph.shapes, strict=True)
    return tuple(_described(graph, ref, shape) for ref, shape in pairs)


def _described(graph: Graph, ref: Ref, shape: Shape) -> Input:
    if any(ref in call.masks for call in graph.calls):
        return Input(ref.layer, shape, "mask")
    readers = [*consumers_of(graph, ref, (*PASSING, "Masking"))]
    tables = [spec for spec in readers if spec.kind == "Embedding"]
    if tables:
        ids = min(spec.integer("input_dim") for spec in tables)
        direct = [graph.layers[call.layer].kind for call in graph.calls if ref in call.inputs]
        # where anything else computes with the ids, they are numbers
        whole = any(kind not in TOOK_IDS and not kind.startswith(PREFIX) for kind in direct)
        return Input(ref.layer, shape, "whole" if whole else "ids", ids, padding=0.0)
    return Input(ref.layer, shape, padding=masked_value(graph, ref) or 0.0)


def _lacks_features(given: Input) -> bool:
    return given.kind == "float" and len(given.shape) > 1 and given.shape[-1] is None


def _runs(model: PortedModel, inputs: tuple[Input, ...], steps: int) -> bool:
    try:
        with torch.no_grad():
            model(*(torch.zeros(each.sized(2, steps), dtype=each.dtype) for each in inputs))
    except (InputError, RuntimeError, ValueError, IndexError, TypeError):
        return False
    return True


def fits(graph: Graph | None, inputs: tuple[Input, ...], steps: int) -> bool:
    """Return whether a model can take so many steps: none of its tensors is then empty."""
    if graph is None:
        return True
    try:
        seen = trace(graph, tuple((None, *each.sized(1, steps)[1:]) for each in inputs))
    except InputError:
        return False
    return all(math.prod(size for size in shape if size is not None) for shape in seen.values())


def example(graph: Graph | None, inputs: tuple[Input, ...], batch: int) -> tuple[Tensor, ...]:
    """Return a batch that the exporters trace.

    Raises:
        InputError: No number of steps fits.
    """
    steps = next((each for each in LONGEST if fits(graph, inputs, each)), None)
    if steps is None:
        raise InputError(f"the model takes none of {LONGEST} steps. Save it with a fixed number.")
    return tuple(torch.zeros(each.sized(batch, steps), dtype=each.dtype) for each in inputs)
