"""What regularisers of weights add to the loss, as Keras adds it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.variables_in_torch import keras_variables, setting_of
from grulight.kernels.adam import round_to_float32

_KINDS = {"L1": ("l1",), "L2": ("l2",), "L1L2": ("l1", "l2"), "WeightRegularizer": ("l1", "l2")}
_DEFAULT = 0.01  # of Keras, for a regulariser that is noted by its name alone
_WORDS = {"l1": ("l1",), "l2": ("l2",), "l1_l2": ("l1", "l2"), "l1l2": ("l1", "l2")}


@dataclass(frozen=True)
class Penalty:
    """What one variable adds: l1 Σ|w| + l2 Σw².

    Attributes:
        setting: Its layer's setting, such as `kernel_regularizer`.
        layer: The name of the layer.
        parameters: What the variable is made of in torch.
        l1: Weight of the absolutes.
        l2: Weight of the squares.
    """

    setting: str
    layer: str
    parameters: tuple[nn.Parameter, ...]
    l1: float
    l2: float

    def value(self) -> Tensor:
        """Return what it adds to the loss, a scalar."""
        return absolutes_and_squares(self.parameters, self.l1, self.l2)


def absolutes_and_squares(tensors: Iterable[Tensor], l1: float, l2: float) -> Tensor:
    """Return l1 Σ|x| + l2 Σx² over all numbers of some tensors, a scalar."""
    l1, l2 = round_to_float32(l1), round_to_float32(l2)  # as Keras' ops.cast does
    return torch.stack([l1 * x.abs().sum() + l2 * x.square().sum() for x in tensors]).sum()


def penalties_of(model: nn.Module) -> tuple[Penalty, ...]:
    """Return the penalties of a model's weights that train; Keras 3 leaves out the others."""
    found = []
    for layer, name, parameters in keras_variables(model, lambda layer: bool(layer.regularizers)):
        setting = setting_of(name, layer.regularizers, "regularizer")
        factors = read_regularizer(layer.regularizers.get(setting))
        if factors is not None and all(each.requires_grad for each in parameters):
            found.append(Penalty(setting, layer.keras_name, tuple(parameters), *factors))
    return tuple(found)


def penalty_of(penalties: tuple[Penalty, ...]) -> Tensor:
    """Return the sum of penalties, which is added once to the loss of each batch."""
    return torch.stack([each.value() for each in penalties]).sum()


def read_regularizer(value: Json) -> tuple[float, float] | None:
    """Return the weights of absolutes and squares; None for any other regulariser, or for none."""
    if isinstance(value, str):
        names = _WORDS.get(value.lower())
        return None if names is None else _factors(dict.fromkeys(names, _DEFAULT))
    if not isinstance(value, dict):
        return None
    kind, settings = value.get("class_name", value.get("name")), value.get("config", value)
    if kind not in _KINDS or not isinstance(settings, dict):
        return None
    return _factors({key: settings.get(key, 0.0) for key in _KINDS[kind]})


def _factors(found: Mapping[str, Json]) -> tuple[float, float] | None:
    l1, l2 = found.get("l1", 0.0), found.get("l2", 0.0)
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in (l1, l2)):
        return None
    return (float(l1), float(l2)) if 0 <= l1 <= 1e30 and 0 <= l2 <= 1e30 else None
