"""What every torch layer with Keras' semantics has: variables, output shapes, masks."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from grulight.errors import InputError
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Array, Step, Variable, Variables
from grulight.keras_files.reader.untrusted_text import Json, quote

MOST_NUMBERS = 1 << 26  # in one tensor of one sample, 256 MB in float32
MOST_GROWTH = 1 << 12  # or so many times the model's inputs, where those are large

# Arrays or gradients of a layer by name; those of layers inside it one level deeper.
Tree = Mapping[str, Any]
Pick = Callable[[Tensor], Tensor]


class Signal(NamedTuple):
    """A tensor on its way through the model, with the mask Keras would attach to it."""

    value: Tensor
    mask: Tensor | None = None


class KerasLayer(nn.Module):
    """A layer that computes what Keras computes.

    Args:
        spec: The layer in the file.
        arrays: Its arrays by the names of its variables.
    """

    passes_mask = False  # Keras' supports_masking: whether the output carries the input's mask
    ignored: tuple[str, ...] = ()  # settings that change nothing here
    always: bool | None = None  # the mode that the model calls it in, whatever its own

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__()
        self.keras_name = spec.name
        self.regularizers = _set(spec, "_regularizer")
        self.constraints = _set(spec, "_constraint")

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the arrays that the layer needs for inputs of these shapes."""
        return {}

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the shapes of the outputs; most layers keep the first input's."""
        return shapes[:1]

    def train(self, mode: bool = True) -> Self:
        """Change to training or inference, unless the model calls the layer with one of them."""
        return super().train(mode if self.always is None else self.always)

    def compute(self, x: Tensor) -> Tensor:
        """Return the output for one input."""
        raise NotImplementedError

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the outputs with their masks."""
        value, mask = signals[0]
        return (Signal(self.compute(value), mask if self.passes_mask else None),)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the arrays in Keras' layout, or what ``pick`` takes from each parameter."""
        return {}


# Parts of a layer in the names of Keras 1's regularisers and constraints.
KERAS_1_PARTS = {"W_": "kernel_", "U_": "recurrent_", "b_": "bias_"}


def _set(spec: LayerSpec, ending: str) -> dict[str, Json]:
    return {
        KERAS_1_PARTS.get(key[:2], key[:2]) + key[2:]: held
        for key, held in spec.config.items()
        if held and key.endswith(ending)
    }


# The layers that can be ported, by class; `registry.py` fills it and is the only one to do so.
KINDS: dict[str, type[KerasLayer]] = {}
WITH_CODE = ("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper")


def layer_class(spec: LayerSpec) -> type[KerasLayer]:
    """Return the torch class for a layer of a file.

    Raises:
        InputError: The class is not in the table, because it carries code or is unknown.
    """
    if spec.kind not in KINDS:
        raise unsupported_layer(spec)
    return KINDS[spec.kind]


def unsupported_layer(spec: LayerSpec) -> InputError:
    """Return the refusal of a layer that is not in the table."""
    why = "which is not among the layers supported so far"
    if spec.kind in WITH_CODE:
        why = "which carries code of its own, and code in a file is never run"
    return InputError(f"layer {quote(spec.name)} is a {quote(spec.kind)}, {why}.")


def variable(
    spec: LayerSpec, name: str, at: int, *shapes: Shape, trainable: bool = True
) -> Variable:
    """Return a variable that native files keep as `vars/<at>` of the layer."""
    trainable = trainable and spec.flag("trainable", True)
    return Variable(name, shapes, ("vars", str(at)), spec.name, trainable)


def nested(variables: Variables, *path: Step) -> Variables:
    """Return the variables of a layer inside another, whose groups lie below ``path``."""
    return {
        name: nested(held, *path)
        if isinstance(held, dict)
        else Variable(held.name, held.shapes, (*path, *held.path), held.layer, held.trainable)
        for name, held in variables.items()
    }


def parameter(array: Array, spec: LayerSpec) -> nn.Parameter:
    """Return an array as a parameter, which a frozen layer does not train."""
    return nn.Parameter(tensor(array), requires_grad=spec.flag("trainable", True))


def tensor(array: Array) -> Tensor:
    """Return an array as a tensor of float32, or of float64 if it has that."""
    dtype = np.float64 if array.dtype == np.float64 else np.float32
    borrowed = not (array.flags.owndata and array.flags.writeable)  # of the file, or of another
    return torch.from_numpy(np.array(array, dtype, order="C", copy=borrowed or None))


def taken(held: Tensor, pick: Pick) -> Array:
    """Return what ``pick`` takes from a parameter as an array."""
    return pick(held).detach().cpu().numpy()


def numbers(shape: Shape) -> int:
    """Return how many numbers a tensor has at least: sizes that are open count as one."""
    return math.prod(1 if size is None else size for size in shape)


def most_numbers(shapes: tuple[Shape, ...]) -> int:
    """Return how many numbers a layer may make of inputs of these shapes.

    A file can ask for any size, such as a vector repeated 2^31 times, with no array behind it.
    """
    batch = max((shape[0] or 1 for shape in shapes if shape), default=1)
    return max(MOST_NUMBERS * batch, MOST_GROWTH * sum(map(numbers, shapes)))


def last(shape: Shape) -> int | None:
    """Return the size of the last axis."""
    return shape[-1] if shape else None
