"""What regularisers of weights add to the loss, as Keras adds it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grulight.keras_files.layers.base import KerasLayer
from grulight.keras_files.layers.noise import ActivityRegularization
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.variables_in_torch import keras_variables
from grulight.kernels.adam import round_to_float32

_KINDS = {"L1": ("l1",), "L2": ("l2",), "L1L2": ("l1", "l2"), "WeightRegularizer": ("l1", "l2")}
_DEFAULT = 0.01  # of Keras, for a regulariser that is noted by its name alone
_WORDS = {"l1": ("l1",), "l2": ("l2",), "l1_l2": ("l1", "l2"), "l1l2": ("l1", "l2")}
SHOWN = 3  # names in one line


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
        l1, l2 = round_to_float32(self.l1), round_to_float32(self.l2)  # as Keras' ops.cast does
        each = [l1 * held.abs().sum() + l2 * held.square().sum() for held in self.parameters]
        return torch.stack(each).sum()


def penalties_of(model: nn.Module) -> tuple[Penalty, ...]:
    """Return the penalties of a model's weights that train; Keras 3 leaves out the others."""
    found = []
    for layer, name, parameters in keras_variables(model, lambda layer: bool(layer.regularizers)):
        setting = f"{name.removesuffix('_kernel')}_regularizer"
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


def dropped_terms(model: nn.Module, penalties: tuple[Penalty, ...]) -> Iterator[str]:
    """Yield, in words, the regularisers and constraints that training leaves out."""
    taken = {(each.layer, each.setting) for each in penalties}
    left: dict[str, list[str]] = {}
    for layer in model.modules():
        if not isinstance(layer, KerasLayer):
            continue
        trains = any(each.requires_grad for each in layer.parameters())
        for setting, value in layer.regularizers.items():
            idle = read_regularizer(value) in ((0.0, 0.0),) or (
                not trains and not setting.startswith("activity")
            )
            if (layer.keras_name, setting) not in taken and not idle:
                left.setdefault(setting, []).append(layer.keras_name)
        for setting in layer.constraints if trains else ():
            left.setdefault(setting, []).append(layer.keras_name)
        if isinstance(layer, ActivityRegularization):
            left.setdefault("activity_regularizer", []).append(layer.keras_name)
    for setting, names in left.items():
        unique = [*dict.fromkeys(names)]
        more = f" and {len(unique) - SHOWN} more" if len(unique) > SHOWN else ""
        yield f"{setting} of {', '.join(map(quote, unique[:SHOWN]))}{more}"
