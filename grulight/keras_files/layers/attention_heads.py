"""Where the heads of MultiHeadAttention lie in its tensors, and how large they are.

Legend: B batch, N heads, D numbers of a head; steps are what one of a query's attends to.
"""

import torch
from torch import Tensor

from grulight.keras_files.plan.spec import LayerSpec


def steps_in_front(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return (B, ..., N, steps, D) of (B, ..., N, D), whose ``axes`` are the steps."""
    others = [axis for axis in range(x.dim() - 1) if axis not in axes]
    moved = x.permute(*others, *axes, -1)
    return moved.flatten(len(others), -2)


def steps_back(y: Tensor, axes: tuple[int, ...], shape: torch.Size) -> Tensor:
    """Return (B, ..., N, D) of (B, ..., N, steps, D), the inverse of ``steps_in_front``."""
    rank = len(shape) + 1
    others = [axis for axis in range(rank - 1) if axis not in axes]
    apart = y.reshape(*y.shape[:-2], *(shape[axis] for axis in axes), y.shape[-1])
    order = [*others, *axes, rank - 1]
    return apart.permute([order.index(axis) for axis in range(rank)])


def attention_axes(spec: LayerSpec, rank: int) -> tuple[int, ...]:
    """Return the axes of an input of so many axes that are attended over."""
    if spec.config.get("attention_axes") is None:
        return tuple(range(1, rank - 1))
    axes = tuple(axis % rank for axis in spec.integers("attention_axes") if -rank <= axis < rank)
    count = len(spec.integers("attention_axes"))
    if len({*axes}) != count or not all(0 < axis < rank - 1 for axis in axes):
        raise spec.refuse("attention_axes", f"axes between the batch and the features of {rank}")
    return axes


def head_sizes(spec: LayerSpec) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return number and size of the heads of query and key, and of value."""
    heads, size = spec.integer("num_heads"), spec.integer("key_dim")
    value = spec.integer("value_dim") if spec.config.get("value_dim") else size
    return (heads, size), (heads, value)


def output_sizes(spec: LayerSpec, query: int | None) -> tuple[int | None, ...]:
    """Return the sizes of the last axes of the output."""
    if not spec.config.get("output_shape"):
        return (query,)
    sizes = spec.integers("output_shape")
    if min(sizes) < 1:
        raise spec.refuse("output_shape", "sizes from 1 on")
    return sizes
