"""Keras' Normalization: mean and variance of data that it was once adapted to."""

import numpy as np
import torch
from torch import Tensor

from grulight.keras_files.layers.base import KerasLayer, Pick, Tree, taken, tensor, variable
from grulight.keras_files.plan.constants import Constant
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Array, Variables

MOMENTS = ("mean", "variance")
EPSILON = 1e-7  # keras.config.epsilon(): no deviation counts as less


class Normalization(KerasLayer):
    """(x - mean) / sqrt(variance), each along the axes that are kept, or the way back."""

    mean: Tensor
    variance: Tensor

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.passes_mask = spec.version.major >= 3  # Keras 2 drops the mask here
        self.axes = _axes(spec)
        self.invert = spec.flag("invert")
        for name in MOMENTS:
            given = _given(spec, name)
            if given is None:
                self.register_buffer(name, tensor(arrays[name]))
            else:  # among the settings, which a checkpoint has anyway
                self.register_buffer(name, torch.from_numpy(given), persistent=False)

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return mean and variance, unless they are among the settings."""
        rank, axes = len(shapes[0]), _axes(spec)
        if not all(-rank <= axis < rank for axis in axes):
            raise spec.refuse("axis", f"axes of an input with {rank} axes")
        shape = tuple(shapes[0][axis] for axis in sorted(axis % rank for axis in axes))
        given = [array for name in MOMENTS if (array := _given(spec, name)) is not None]
        for array in given:
            sizes = zip(array.shape[::-1], shape[::-1], strict=False)
            if array.ndim > len(shape) or any(ours not in (1, size) for ours, size in sizes):
                raise spec.refuse("mean", f"mean and variance of shape {shape}")
        if len(given) == 1:
            raise spec.refuse("variance", "both mean and variance, or neither")
        if given:
            return {}
        return {
            name: variable(spec, name, at, shape, trainable=False)
            for at, name in enumerate(MOMENTS)
        }

    def compute(self, x: Tensor) -> Tensor:
        """Return the input standardised, or as it was before."""
        mean, variance = (self._along(each, x) for each in (self.mean, self.variance))
        deviation = variance.sqrt().clamp(min=EPSILON)
        return mean + x * deviation if self.invert else (x - mean) / deviation

    def _along(self, held: Tensor, x: Tensor) -> Tensor:
        """Lay an array along the last of the kept axes."""
        shape = [1] * x.dim()
        axes = sorted(axis % x.dim() for axis in self.axes)[len(self.axes) - held.dim() :]
        for axis, size in zip(axes, held.shape, strict=True):
            shape[axis] = size
        return held.reshape(shape).to(x.dtype)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return mean and variance, unless they are among the settings."""
        names = [name for name in MOMENTS if name in self.state_dict()]
        return {name: taken(getattr(self, name), lambda buffer: buffer) for name in names}


def _axes(spec: LayerSpec) -> tuple[int, ...]:
    """Return the axes that are kept; none is Keras' word for a single mean."""
    return () if spec.config.get("axis", -1) is None else spec.integers("axis", -1, fewest=0)


def _given(spec: LayerSpec, name: str) -> Array | None:
    """Return the mean or the variance that is among the settings."""
    if spec.config.get(name) is None:
        return None
    given = spec.numbers(name)
    if isinstance(given, Constant):
        return np.array(given.numbers, np.float64).reshape(given.shape)
    return np.array(given)
