"""What a Keras file was compiled with: words of closed tables and numbers, nothing is resolved."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from grulight.keras_files.reader.compiled_loss import LARGEST, Loss, read_loss
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.reader.versions import KerasVersion

MOST_DROPPED = 20
# By the name in lower case: the class in Keras, and its own arguments with Keras' defaults.
_ADAM = {
    "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False,
}  # fmt: skip
OPTIMIZERS: dict[str, tuple[str, dict[str, float | bool]]] = {
    "adam": ("Adam", {**_ADAM, "weight_decay": 0.0}),
    "adamw": ("Adam", {**_ADAM, "weight_decay": 0.004}),
    "rmsprop": (
        "RMSprop",
        {
            **{"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7},
            **{"centered": False, "weight_decay": 0.0},
        },
    ),
    "sgd": (
        "SGD",
        {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    ),
}
BELOW_ONE = ("beta_1", "beta_2", "rho", "momentum")
CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")  # the first one that is set counts
# without a part in what is computed, or only beside others that are named
_INERT = (
    *("name", "is_legacy_optimizer", "jit_compile", "ema_momentum", "ema_overwrite_frequency"),
    *("lr", "learning_rate"),
)

NO_LOSS = Loss(None, None)


@dataclass(frozen=True)
class Compiled:
    """What `compile` was told.

    Attributes:
        loss: The loss.
        optimizer: `class` (Adam, RMSprop, SGD) and its arguments in Keras' words; None where the
            file names none that is known.
        optimizer_name: What the file calls it.
        clipping: One of `CLIPPING` and its number, or nothing.
        dropped: What is not taken over, in words.
    """

    loss: Loss = NO_LOSS
    optimizer: Mapping[str, Json] | None = None
    optimizer_name: str | None = None
    clipping: Mapping[str, float] | None = None
    dropped: tuple[str, ...] = ()

    @property
    def as_ever(self) -> bool:
        """Whether it asks for what is done where nothing is asked: Adam with its defaults."""
        known = self.loss.known is not None or self.loss.name is None
        return self.is_plain_adam and known and not self.clipping and not self.dropped

    @property
    def is_plain_adam(self) -> bool:
        """Whether the optimiser is Adam with its defaults, or none is named."""
        given = {"class": "Adam", **(self.optimizer or {})}
        defaults = OPTIMIZERS["adam"][1]
        return given.pop("class") == "Adam" and all(
            math.isclose(value, defaults[key], rel_tol=1e-6) for key, value in given.items()
        )

    @property
    def described(self) -> dict[str, Json]:
        """What a checkpoint keeps of it, beside the loss."""
        return {
            "unsupported_loss": None if self.loss.known else self.loss.name,
            "optimizer": None if self.optimizer is None else dict(self.optimizer),
            "clipping": dict(self.clipping or {}),
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
    given = compiled.get("optimizer_config") or compiled.get("optimizer")
    name, settings = _named(given)
    if name is None:
        return Compiled(loss, dropped=tuple(dropped))
    key = name.rpartition(">")[2].lower()
    if key not in OPTIMIZERS:
        dropped.append(f"optimizer {quote(name)} ({quote(_rate(settings))})")
        return Compiled(loss, None, name, None, tuple(dropped))
    optimizer, clipping, more = _optimizer(key, name, settings, version)
    return Compiled(loss, optimizer, name, clipping, tuple([*dropped, *more][:MOST_DROPPED]))


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


def _rate(settings: Mapping[str, Json]) -> Json:
    return f"learning_rate {settings.get('learning_rate', settings.get('lr'))}"


def _optimizer(
    key: str, name: str, settings: Mapping[str, Json], version: KerasVersion
) -> tuple[Mapping[str, Json] | None, Mapping[str, float], list[str]]:
    """Return an optimiser in our words, how gradients are clipped, and what is dropped."""
    kind, defaults = OPTIMIZERS[key]
    dropped = [*_left_out(settings, defaults)]
    settings = {**settings}
    rate = settings.get("learning_rate", settings.get("lr", defaults["learning_rate"]))
    if isinstance(rate, dict):
        start = rate.get("config")
        start = start.get("initial_learning_rate") if isinstance(start, dict) else None
        dropped.append(f"schedule {quote(rate.get('class_name'))} (its first rate is kept)")
        rate = start
    settings["learning_rate"] = rate
    found: dict[str, Json] = {"class": kind}
    for argument, default in defaults.items():
        value = settings.get(argument, default)
        value = default if value is None and argument != "learning_rate" else value
        if not _fits(argument, value, default):
            wrong = f"optimizer {quote(name)} with {argument} {quote(value)}"
            return None, {}, [*dropped, wrong]
        found[argument] = value if isinstance(default, bool) else float(value)
    if kind == "RMSprop" and (version.major, version.minor) < (2, 11):
        dropped.append("RMSprop's epsilon outside the root (that of Keras 3 is within)")
    clipping, more = _clipping(settings, version)
    return found, clipping, [*dropped, *more]


def _fits(argument: str, value: Json, default: float | bool) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < (1 if argument in BELOW_ONE else LARGEST)


def _left_out(settings: Mapping[str, Json], known: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if value and key not in (*_INERT, *CLIPPING, *known):
            yield f"{key} {quote(value)}"


def _clipping(
    settings: Mapping[str, Json], version: KerasVersion
) -> tuple[dict[str, float], list[str]]:
    """Return how gradients are clipped: by one of the rules, as Keras does it."""
    for rule in CLIPPING:
        value = settings.get(rule)
        if not value:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < LARGEST:
            return {}, [f"{rule} {quote(value)}"]
        # Keras outside TensorFlow took the norm over all variables until 2.3, its last version
        of_all = rule == "clipnorm" and not version.tensorflow and version.major < 3
        both = of_all and settings.get("clipvalue")
        more = [f"clipvalue {quote(settings['clipvalue'])}"] if both else []
        return {"global_clipnorm" if of_all else rule: float(value)}, more
    return {}, []
