"""What Keras' files hold of `x[:, -1]` and the like."""

from typing import Any

import torch
from torch import Tensor

from grulight.keras_files.plain import Json

BOUNDS = ("start", "stop", "step")


def sliced(x: Tensor, index: list[Json]) -> Tensor:
    """Return a tensor's part; torch knows no steps backwards, so they are looked up.

    Raises:
        ValueError: The index is none of numbers, slices, an ellipsis and new axes.
    """
    parts = [part_of(each) for each in index]
    held = sum(part is not None and part is not Ellipsis for part in parts)
    if parts.count(Ellipsis) > 1 or held > x.dim():
        raise ValueError("an index of more axes than there are")
    at = parts.index(Ellipsis) if Ellipsis in parts else len(parts)
    parts[at : at + 1] = [slice(None)] * (x.dim() - held)
    axis = 0
    for part in parts:
        if part is None:
            x = x.unsqueeze(axis)
        elif isinstance(part, int):
            x = x.select(axis, part)
            continue
        elif part.step is not None and part.step < 0:
            start, stop, step = part.indices(x.shape[axis])
            count = len(range(start, stop, step))
            x = x.index_select(axis, start + step * torch.arange(count, device=x.device))
        else:
            x = x[(slice(None),) * axis + (part,)]
        axis += 1
    return x


def part_of(entry: Json) -> Any:
    """Return one part of an index: a number, a slice, an ellipsis, or None for a new axis.

    Raises:
        ValueError: It is none of them.
    """
    if entry is None or type(entry) is int:
        return entry
    if isinstance(entry, dict) and entry.get("class_name") == "__ellipsis__":
        return Ellipsis
    held = entry.get("config", entry) if isinstance(entry, dict) else {}
    bounds = [held.get(key, "") if isinstance(held, dict) else "" for key in BOUNDS]
    if any(bound is not None and type(bound) is not int for bound in bounds) or bounds[2] == 0:
        raise ValueError("an index that is no number and no slice of numbers")
    return slice(*bounds)
