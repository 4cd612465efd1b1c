"""Regularisers and constraints of a model's layers: which training takes over, and which not."""

from collections.abc import Iterator

from torch import nn

from grulight.keras_files.activity_penalties import SETTING, activity_regularised
from grulight.keras_files.constraints import constraints_of
from grulight.keras_files.layers.base import KerasLayer
from grulight.keras_files.penalties import penalties_of, read_regularizer
from grulight.keras_files.reader.untrusted_text import quote

SHOWN = 3  # names in one line
Term = tuple[str, str]  # a layer and its setting


def terms_taken_over(model: nn.Module, *, own_optimizer: bool = False) -> list[Term]:
    """Return layer and setting of every regulariser and constraint that training takes over.

    Args:
        model: A Keras model.
        own_optimizer: Whether the user named an optimiser, which applies no constraints.
    """
    found = [(each.layer, each.setting) for each in penalties_of(model)]
    found += [(layer.keras_name, SETTING) for layer, *_ in activity_regularised(model)]
    if not own_optimizer:
        found += [(each.layer, each.setting) for each in constraints_of(model)]
    return found


def terms_left_out(model: nn.Module, *, own_optimizer: bool = False) -> Iterator[str]:
    """Yield, in words, the regularisers and constraints that training leaves out.

    Args:
        model: A Keras model.
        own_optimizer: Whether the user named an optimiser, which applies no constraints.
    """
    taken = {*terms_taken_over(model, own_optimizer=own_optimizer)}
    left: dict[str, list[str]] = {}
    for layer in (each for each in model.modules() if isinstance(each, KerasLayer)):
        trains = any(each.requires_grad for each in layer.parameters())
        for setting, value in (layer.regularizers | layer.constraints).items():
            idle = setting.endswith("_regularizer") and read_regularizer(value) == (0.0, 0.0)
            idle |= not trains and not setting.startswith("activity")
            if (layer.keras_name, setting) not in taken and not idle:
                left.setdefault(setting, []).append(layer.keras_name)
    for setting, names in left.items():
        yield f"{setting} of {_some(names)}"


def terms_in_words(model: nn.Module, *, own_optimizer: bool = False) -> Iterator[str]:
    """Yield, in words, the regularisers and constraints that training takes over."""
    settings: dict[str, list[str]] = {}
    for layer, setting in terms_taken_over(model, own_optimizer=own_optimizer):
        settings.setdefault(setting, []).append(layer)
    for setting, layers in settings.items():
        names = [*dict.fromkeys(layers)]
        yield f"{setting} of {repr(names[0]) if len(names) == 1 else f'{len(names)} layers'}"


def _some(names: list[str]) -> str:
    unique = [*dict.fromkeys(names)]
    more = f" and {len(unique) - SHOWN} more" if len(unique) > SHOWN else ""
    return ", ".join(map(quote, unique[:SHOWN])) + more
