"""A ported model's numbers in Keras' layout: where Keras keeps each of them, and by which path."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from grulight.keras_files.ported_model import PortedModel
from parity.question import Array, Arrays


def places_of(model: PortedModel) -> dict[str, Array]:
    """Return for every number of Keras' arrays its place among the numbers of the model."""
    numbered = copy.deepcopy(model).double()
    start = 0
    with torch.no_grad():
        for held in numbered.state_dict().values():
            held.copy_(torch.arange(start, start + held.numel()).view(held.shape))
            start += held.numel()
    places = {n: array.astype(np.int64) for n, array in by_path(numbered.keras_arrays()).items()}
    taken = np.sort(np.concatenate([np.empty(0, np.int64), *map(np.ravel, places.values())]))
    if not np.array_equal(taken, np.arange(start)):
        raise ValueError("the port does not give every number of the model to Keras exactly once.")
    return places


def by_path(tree: Mapping[str, Any], prefix: str = "") -> Arrays:
    """Return arrays by layer and name, joined with slashes."""
    found: Arrays = {}
    for name, held in tree.items():
        path = prefix + name
        found |= (
            by_path(held, f"{path}/") if isinstance(held, Mapping) else {path: np.asarray(held)}
        )
    return found
