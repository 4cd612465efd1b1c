"""Weights that a training leaves as they are."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from grulight.errors import InputError, listed, option


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Keep weights as they are, and what normalises by their side as in Keras' frozen layers.

    Args:
        network: What is trained.
        patterns: Of the weights' names, such as ``gru.*``.

    Raises:
        InputError: A pattern fits no weight, or none is left to train.
    """
    weights = dict(network.named_parameters())
    for pattern in patterns:
        fitting = [name for name in weights if fnmatchcase(name, pattern)]
        if not fitting:
            known = listed([*weights], like=[pattern])
            raise InputError(
                f"{option('model.freeze', pattern)}: fits none of the weights {known}."
            )
        for name in fitting:
            weights[name].requires_grad_(False)
    if patterns and not any(each.requires_grad for each in weights.values()):
        raise InputError(f"{option('model.freeze')}: no weight is left to train. Freeze fewer.")
    for module in network.modules():
        own = [*module.parameters(recurse=False)]
        # BatchNormalization: its moving statistics stand still too
        if getattr(module, "frozen", None) is False and own:
            module.frozen = not any(each.requires_grad for each in own)  # type: ignore[assignment]
