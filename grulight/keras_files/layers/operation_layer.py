"""A bare operation on tensors as a layer, and the shapes that it gives."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from grulight.errors import InputError
from grulight.keras_files.layers.base import KerasLayer, Signal, Tree
from grulight.keras_files.layers.network import PREFIX
from grulight.keras_files.layers.operations import ELEMENTWISE, FUNCTIONS, UNARY
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.reader.untrusted_text import Json

# Stand-ins for sizes that are open; an axis that differs between them stays open. They have many
# divisors, so that a Reshape finds what it needs.
OPEN_SIZES = (5040, 10080)
INERT = ("name", "trainable", "dtype")


class _Read(dict[str, Json]):
    """Settings that remember which of them were looked at."""

    def __init__(self, settings: Mapping[str, Json]) -> None:
        super().__init__(settings)
        self.left = {*settings} - {*INERT}

    def get(self, key: str, default: Json = None) -> Json:
        """Return a setting."""
        self.left.discard(key)
        return super().get(key, default)


def _require_read(spec: LayerSpec, settings: _Read) -> None:
    """Refuse a setting that changes what is computed, and that nothing here honours."""
    for key in sorted(settings.left):
        if settings[key] not in (None, False):
            raise spec.refuse(key, "none: this operation has no such setting here")


def _shapes(spec: LayerSpec, sizes: list[list[int]]) -> list[tuple[int, ...]]:
    """Return the shapes of the outputs for inputs of these sizes."""
    kind = spec.kind.removeprefix(PREFIX)
    if kind in ELEMENTWISE:  # meta tensors load much of torch for some of these
        if len(sizes) != (1 if kind in UNARY else 3 if kind == "Where" else 2):
            raise ValueError("another number of tensors")
        return [np.broadcast_shapes(*map(tuple, sizes))]
    outputs = FUNCTIONS[kind](spec, [torch.empty(each, device="meta") for each in sizes])
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    return [tuple(each.shape) for each in several]


class Operation(KerasLayer):
    """An operation of the table; its outputs have no mask, as in Keras."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.spec = spec
        self.function = FUNCTIONS[spec.kind.removeprefix(PREFIX)]

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return what tensors without numbers give; a number has the shape ()."""
        found = []
        settings = _Read(spec.config)
        spec = replace(spec, config=settings)
        for size in OPEN_SIZES:
            sizes = [[size if n is None else n for n in shape] for shape in shapes]
            try:
                found.append(_shapes(spec, sizes))
            except InputError:
                raise
            except (RuntimeError, ValueError, IndexError, TypeError, OverflowError):
                raise spec.refuse(
                    "inputs", f"inputs that {spec.kind} takes, got {shapes}"
                ) from None
        _require_read(spec, settings)
        if len(found[0]) != len(found[1]):
            raise spec.refuse("axis", "one that does not part the samples")
        return tuple(
            tuple(n if n == m else None for n, m in zip(ours, theirs, strict=True))
            for ours, theirs in zip(*found, strict=True)
        )

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the result, or results."""
        outputs = self.function(self.spec, [each.value for each in signals])
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(Signal(each) for each in several)


OPERATIONS: dict[str, type[KerasLayer]] = {PREFIX + name: Operation for name in FUNCTIONS}
