"""Operations that move a tensor's numbers: to another shape, into parts, or repeated."""

from typing import Any

import torch
from torch import Tensor

from grulight.keras_files.layers.slices import sliced
from grulight.keras_files.plan.spec import LayerSpec

MOST_PARTS = 1024  # tensors that one call may give; connections count no further
Outputs = Tensor | tuple[Tensor, ...]


def reshape(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return the numbers in another shape, of which None follows from the others."""
    shape = [size if size is not None else -1 for size in _list(spec, "newshape")]
    return tensors[0].reshape(shape)


def transpose(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return the axes in another order, backwards where none is given."""
    [x] = tensors
    axes = spec.config.get("axes")
    return x.permute(tuple(reversed(range(x.dim()))) if axes is None else spec.integers("axes"))


def split(spec: LayerSpec, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """Return parts of one size, or those between places.

    Raises:
        ValueError: There are too many, or they differ in size.
    """
    [x], axis = tensors, spec.integer("axis", 0, least=-16)
    if isinstance(spec.config.get("indices_or_sections"), list):
        return torch.tensor_split(x, spec.integers("indices_or_sections"), axis)
    parts = spec.integer("indices_or_sections")
    if parts > MOST_PARTS or x.shape[axis] % parts:
        raise ValueError("parts of different sizes, or too many")
    return torch.tensor_split(x, parts, axis)


def unstack(spec: LayerSpec, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """Return what lies along an axis, one by one.

    Raises:
        ValueError: It is too much.
    """
    [x], axis = tensors, spec.integer("axis", 0, least=-16)
    if x.shape[axis] > MOST_PARTS:
        raise ValueError("too many parts, or as many as there are samples")
    return x.unbind(axis)


def split_by_sizes(spec: LayerSpec, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """Return parts of given sizes."""
    return torch.split(tensors[0], list(spec.integers("sizes")), spec.integer("axis", 0, least=-16))


def squeeze(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return the tensor without axes of size 1."""
    axis = spec.config.get("axis")
    if axis in (None, []):
        return tensors[0].squeeze()
    return tensors[0].squeeze(spec.integers("axis"))


def take(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return what lies at some places of an axis; one place takes the axis away."""
    [x], axis = tensors, spec.integer("axis", 0, least=-16)
    if type(spec.config.get("indices")) is int:
        return x.select(axis, spec.integer("indices", least=-x.shape[axis]))
    return x.index_select(axis, torch.tensor(spec.integers("indices"), device=x.device))


def repeat(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return the tensor with each place of an axis repeated."""
    count = spec.integer("repeats")
    return tensors[0].repeat_interleave(count, spec.integer("axis", least=-16))


def tile(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return the whole tensor repeated along its axes."""
    return tensors[0].tile(spec.integers("repeats"))


def expand_dims(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return the tensor with another axis of size 1."""
    return tensors[0].unsqueeze(spec.integer("axis", -1, least=-16))


def get_item(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return a part, as `x[:, -1]` does."""
    return sliced(tensors[0], _list(spec, "index"))


def swap_axes(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return the tensor with two axes exchanged."""
    return tensors[0].transpose(spec.integer("axis1", least=-16), spec.integer("axis2", least=-16))


def flip(spec: LayerSpec, tensors: list[Tensor]) -> Tensor:
    """Return some axes backwards."""
    return tensors[0].flip(spec.integers("axis"))


def _list(spec: LayerSpec, key: str) -> list[Any]:
    value = spec.config.get(key)
    if not isinstance(value, list) or len(value) > 16:
        raise spec.refuse(key, "a list")
    return value
