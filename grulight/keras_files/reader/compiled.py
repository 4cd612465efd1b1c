"""What a Keras file was compiled with: words of closed tables and numbers, nothing is resolved."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from grulight.keras_files.reader.compiled_loss import Loss, read_loss
from grulight.keras_files.reader.optimizer_settings import (
    OPTIMIZERS,
    OptimizerSettings,
    read_optimizer,
)
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.reader.versions import KerasVersion

MOST_DROPPED = 20
NO_LOSS, NO_OPTIMIZER = Loss(None, None), OptimizerSettings()


@dataclass(frozen=True)
class Compiled:
    """What `compile` was told.

    Attributes:
        loss: The loss.
        settings: The optimiser, as far as it is known.
        optimizer_name: What the file calls it.
        dropped: What is not taken over, in words.
    """

    loss: Loss = NO_LOSS
    settings: OptimizerSettings = NO_OPTIMIZER
    optimizer_name: str | None = None
    dropped: tuple[str, ...] = ()

    @property
    def as_ever(self) -> bool:
        """Whether it asks for what is done where nothing is asked: Adam with its defaults."""
        known = self.loss.known is not None or self.loss.name is None
        return self.is_plain_adam and known and not self.settings.around and not self.dropped

    @property
    def is_plain_adam(self) -> bool:
        """Whether the optimiser is Adam with its defaults, or none is named."""
        given = {"class": "Adam", **(self.settings.optimizer or {})}
        defaults = OPTIMIZERS["adam"][1]
        return given.pop("class") == "Adam" and all(
            math.isclose(value, defaults[key], rel_tol=1e-6) for key, value in given.items()
        )

    @property
    def described(self) -> dict[str, Json]:
        """What a checkpoint keeps of it, beside the loss."""
        return {
            "unsupported_loss": None if self.loss.known else self.loss.name,
            "optimizer": self.settings.optimizer,
            **self.settings.around,
            "dropped": list(self.dropped),
        }


def read_compiled(compiled: Json, version: KerasVersion) -> Compiled:
    """Read what Keras notes of `compile`.

    Args:
        compiled: `training_config` of HDF5 files, `compile_config` of `.keras` files; anything.
        version: The Keras that wrote it.
    """
    if not isinstance(compiled, dict):
        return Compiled()
    loss = read_loss(compiled.get("loss"))
    dropped = [*loss.dropped]
    weights = compiled.get("loss_weights")
    if weights and any(each != 1 for each in _values(weights)):
        dropped.append(f"loss_weights {quote(weights)}")
    if mode := compiled.get("sample_weight_mode"):
        dropped.append(f"sample_weight_mode {quote(mode)}")
    name, given = _named(compiled.get("optimizer_config") or compiled.get("optimizer"))
    if name is None:
        return Compiled(loss, dropped=tuple(dropped))
    settings = read_optimizer(name, given, version)
    dropped += settings.dropped
    return Compiled(loss, settings, name, tuple(dropped[:MOST_DROPPED]))


def _values(weights: Json) -> list[Json]:
    if isinstance(weights, dict):
        return [*weights.values()]
    return weights if isinstance(weights, list) else [weights]


def _named(optimizer: Json) -> tuple[str | None, Mapping[str, Json]]:
    """Return the name and the arguments of an optimiser, noted as a word or as an object."""
    if isinstance(optimizer, str):
        return optimizer[:80], {}
    if not isinstance(optimizer, dict) or not isinstance(optimizer.get("class_name"), str):
        return None, {}
    settings = optimizer.get("config")
    return optimizer["class_name"][:80], settings if isinstance(settings, dict) else {}
