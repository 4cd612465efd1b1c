"""The NumPy witness of a Keras file: what its own JSON and arrays say, by Keras' documentation.

It shares neither the reading nor the equations of the port. What it does not know for sure, such as
a mask that reaches a layer in which generations of Keras differ, it does not follow.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from parity.keras_files.inputs import fed
from parity.keras_files.numpy_arrays import VARIABLES, opened
from parity.keras_files.numpy_layers import COMPUTED, INERT, PASSING, Weights, function
from parity.keras_files.numpy_model import (
    WRAPPED,
    Call,
    Layer,
    Model,
    NotFollowedError,
    Tensor,
    model_of,
)
from parity.keras_files.numpy_recurrent import RECURRENT, recurrent
from parity.keras_files.numpy_shapes import MERGES, MOVED, merged
from parity.question import Array, Arrays, Question

Signal = tuple[Array, Array | None]  # a value, and which of its steps are not masked
FAILURES = (NotFollowedError, KeyError, ValueError, TypeError, IndexError, AttributeError, OSError)
_OPERATIONS: dict[str, Callable[..., Array]] = {"NotEqual": np.not_equal, "Any": np.any}


class NumpyWitness:
    """A Keras file as NumPy computes it; None of its arrays comes from the port.

    Args:
        path: The file, which the reader has looked at before.
        config: The model's JSON, for a file of weights alone.
        most: No array has more numbers than this.
    """

    def __init__(self, path: Path, config: str | Path | None, most: int) -> None:
        with opened(path, config, most) as file:
            self.model = model_of(file.config, file.written)
            self.own = {
                name: file.arrays(layer)
                for name, layer in self.model.layers.items()
                if layer.kind in (*VARIABLES, *WRAPPED)
            }

    def __call__(self, question: Question, *, own: bool) -> Arrays:
        """Return the model's outputs, with the file's own weights or with the question's."""
        held = self.own
        if not own:
            held = {name: _below(question.weights, f"{name}/") for name in self.model.layers}
        outputs = run(self.model, [*fed(question).values()], held)
        names = (f"output.{name}" for name in question.settings["outputs"])
        return dict(zip(names, outputs, strict=True))


def witness(path: Path, config: str | Path | None, question: Question) -> NumpyWitness | None:
    """Return the witness of a file, or None where it cannot follow the file in a question."""
    most = max((array.size for array in question.weights.values()), default=0)
    try:
        found = NumpyWitness(path, config, most)
        found(question, own=True)
    except FAILURES:
        return None
    return found


def run(model: Model, inputs: list[Array], own: Mapping[str, Weights]) -> list[Array]:
    """Return the outputs of a model."""
    seen: dict[Tensor, Signal] = {
        ref: (array, None) for ref, array in zip(model.inputs, inputs, strict=True)
    }
    left = [*model.calls]
    while left:
        ready = [call for call in left if all(each in seen for each in _needs(call))]
        if not ready:
            raise NotFollowedError("calls that wait for each other")
        for call in ready:
            values, mask = _called(model.layers[call.layer], call, seen, own)
            for at, value in enumerate(values):
                seen[Tensor(call.layer, call.index, at)] = (value, mask)
        left = [call for call in left if call not in ready]
    return [seen[ref][0] for ref in model.outputs]


def _needs(call: Call) -> list[Tensor]:
    given = [each for each in call.inputs if isinstance(each, Tensor)]
    return given if call.mask is None else [*given, call.mask]


def _called(
    layer: Layer, call: Call, seen: Mapping[Tensor, Signal], own: Mapping[str, Weights]
) -> tuple[list[Array], Array | None]:
    given = (each if isinstance(each, Tensor) else (np.asarray(each), None) for each in call.inputs)
    signals = [seen[each] if isinstance(each, Tensor) else each for each in given]
    values, mask = [value for value, _ in signals], signals[0][1]
    mask = mask if call.mask is None else seen[call.mask][0].astype(bool)
    if layer.kind in _OPERATIONS:
        axes = {"axis": layer.settings["axis"]} if layer.kind == "Any" else {}
        return [_OPERATIONS[layer.kind](*values, **axes)], None
    if layer.kind in RECURRENT:
        if len(values) > 1 and mask is not None and call.mask is None:
            raise NotFollowedError("generations of Keras differ in this mask")
        return recurrent(layer, values[0], own[layer.name], mask, values[1:])
    if layer.kind in MERGES:
        if any(each is not None for _, each in signals):
            raise NotFollowedError("generations of Keras differ in this mask")
        return [merged(layer, values)], None
    if len(values) > 1:
        raise NotFollowedError(f"several inputs of {layer.kind}")
    found, handed = _one(layer, values[0], mask, own.get(layer.name, {}))
    return [found], handed


def _one(layer: Layer, x: Array, mask: Array | None, own: Weights) -> Signal:
    """Run a layer of one input."""
    given = layer.settings
    if layer.kind == "Masking":
        read = (x != given.get("mask_value", 0.0)).any(-1)
        return np.where(read[..., None], x, 0.0), read
    if layer.kind == "Embedding":
        return own["embeddings"][x.astype(int)], x != 0 if given.get("mask_zero") else None
    if layer.kind == "TimeDistributed":
        [inner] = layer.inner
        if mask is not None and inner.kind not in PASSING:
            raise NotFollowedError("a mask within TimeDistributed")
        y, _ = _one(inner, x.reshape(-1, *x.shape[2:]), None, own)
        return y.reshape(*x.shape[:2], *y.shape[1:]), mask
    if mask is not None and layer.kind not in PASSING:
        raise NotFollowedError(f"generations of Keras differ in the mask of {layer.kind}")
    if layer.kind in INERT:
        return function(layer, "activation")(x), mask
    compute = COMPUTED.get(layer.kind) or MOVED.get(layer.kind)
    if compute is None:
        raise NotFollowedError(f"a {layer.kind}")
    return compute(layer, x, own), mask


def _below(arrays: Arrays, prefix: str) -> Arrays:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
