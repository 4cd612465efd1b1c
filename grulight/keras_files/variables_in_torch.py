"""Which torch parameters make up each variable that Keras has."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from grulight.keras_files.layers.base import KerasLayer
from grulight.keras_files.reader.untrusted_text import Json


def variables_of(layer: KerasLayer) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """Yield name and parameters of each variable that a layer holds itself.

    Keras' GRU has one bias where torch has two, so that norms go over both. A layer tells where
    a parameter ends up when it is asked for its arrays with nan in that parameter's place.
    """
    held: dict[str, list[nn.Parameter]] = {}
    for parameter in layer.parameters():
        for name in _names(layer, parameter):
            held.setdefault(name, []).append(parameter)
    yield from held.items()


def _names(layer: KerasLayer, parameter: nn.Parameter) -> Iterator[str]:
    def marked(each: Tensor) -> Tensor:
        return torch.full(each.shape, math.nan if each is parameter else 0.0)

    for name, array in layer.to_keras(marked).items():
        # a dictionary is that of a layer inside, which is asked itself
        if not isinstance(array, dict) and np.isnan(array).any():
            yield name


def setting_of(name: str, settings: Mapping[str, Json], ending: str) -> str:
    """Return what a layer's regulariser or constraint of a variable is called.

    Args:
        name: The variable.
        settings: Those that the layer has.
        ending: `regularizer` or `constraint`.
    """
    part = name.removesuffix("_kernel")
    if name == "kernel" and f"depthwise_{ending}" in settings:  # as Keras 3 names that variable
        part = "depthwise"
    return f"{part}_{ending}"


def keras_variables(
    model: nn.Module, wanted: Callable[[KerasLayer], bool] = lambda layer: True
) -> Iterator[tuple[KerasLayer, str, list[nn.Parameter]]]:
    """Yield layer, name and parameters of each variable of a model's layers, or of those wanted.

    It takes as much memory as a layer to ask it.
    """
    seen: set[int] = set()  # wrappers hand on the variables of the layer that they wrap
    for layer in reversed([each for each in model.modules() if isinstance(each, KerasLayer)]):
        for name, parameters in variables_of(layer) if wanted(layer) else ():
            if not seen.intersection(map(id, parameters)):
                yield layer, name, parameters
        seen.update(map(id, layer.parameters()))
