"""The optimiser that a Keras file was compiled with: a word of a closed table, and its numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from grulight.keras_files.reader.compiled_loss import LARGEST
from grulight.keras_files.reader.schedule_settings import decay_of, read_schedule
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.reader.versions import KerasVersion

# By the name in lower case: the class in Keras, and its own arguments with Keras' defaults.
_RATE, _EPSILON = {"learning_rate": 0.001}, {"epsilon": 1e-7}
_BETAS = {"beta_1": 0.9, "beta_2": 0.999}
_PLAIN = {"weight_decay": 0.0}
_ADAM = {**_RATE, **_BETAS, **_EPSILON, "amsgrad": False}
OPTIMIZERS: dict[str, tuple[str, dict[str, float | bool]]] = {
    "adam": ("Adam", {**_ADAM, **_PLAIN}),
    "adamw": ("Adam", {**_ADAM, "weight_decay": 0.004}),
    "adamax": ("Adamax", {**_RATE, **_BETAS, **_EPSILON, **_PLAIN}),
    "nadam": ("Nadam", {**_RATE, **_BETAS, **_EPSILON, **_PLAIN}),
    "adagrad": ("Adagrad", {**_RATE, "initial_accumulator_value": 0.1, **_EPSILON, **_PLAIN}),
    "adadelta": ("Adadelta", {**_RATE, "rho": 0.95, **_EPSILON, **_PLAIN}),
    "lion": ("Lion", {**_RATE, "beta_1": 0.9, "beta_2": 0.99, **_PLAIN}),
    "rmsprop": (
        "RMSprop",
        {**_RATE, "rho": 0.9, "momentum": 0.0, **_EPSILON, "centered": False, **_PLAIN},
    ),
    "sgd": ("SGD", {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, **_PLAIN}),
}
BELOW_ONE = ("beta_1", "beta_2", "rho", "momentum")
CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")  # the first one that is set counts
MOST_STEPS = 2**31
# whose equations were others before Keras 2.11, and are in its `optimizers.legacy`
_CHANGED = ("Adagrad", "Nadam")
# why not, where that is not plain
_WHY = {"use_ema": " (a run's checkpoints and tests are of the weights, not of their averages)"}
# without a part in what is computed, or only beside others that are named
_INERT = (
    *("name", "is_legacy_optimizer", "jit_compile", "ema_momentum", "ema_overwrite_frequency"),
    *("lr", "learning_rate"),
)


@dataclass(frozen=True)
class OptimizerSettings:
    """An optimiser.

    Attributes:
        optimizer: `class` (one of `OPTIMIZERS`) and its arguments in Keras' words; None where the
            file names none that is known.
        around: What is done around each of its updates: `clipping`, one of `CLIPPING` and its
            number; `schedule`, its `class` and arguments; `gradient_accumulation_steps`, of how
            many batches an update takes the mean gradient.
        dropped: What is not taken over, in words.
    """

    optimizer: dict[str, Json] | None = None
    around: Mapping[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def read_optimizer(
    name: str, given: Mapping[str, Json], version: KerasVersion
) -> OptimizerSettings:
    """Read an optimiser.

    Args:
        name: As the file has it.
        given: Its arguments.
        version: The Keras that wrote it.
    """
    key = name.rpartition(">")[2].lower()
    kind, defaults = OPTIMIZERS.get(key, ("", {}))
    old = (version.major, version.minor) < (2, 11)
    # those of `optimizers.legacy` have a decay, which the others lack
    old |= version.major < 3 and ("decay" in given or given.get("is_legacy_optimizer") is True)
    if key not in OPTIMIZERS or (old and kind in _CHANGED):
        said = f"learning_rate {given.get('learning_rate', given.get('lr'))}"
        before = " as it was before Keras 2.11" if kind else ""
        return OptimizerSettings(dropped=(f"optimizer {quote(name)}{before} ({quote(said)})",))
    rate, schedule, dropped = _rate(given, defaults, version)
    found: dict[str, Json] = {"class": kind}
    for argument, default in defaults.items():
        value: Any = rate if argument == "learning_rate" else given.get(argument)
        value = default if value is None and argument != "learning_rate" else value
        if not _fits(argument, value, default):
            wrong = f"optimizer {quote(name)} with {argument} {quote(value)}"
            return OptimizerSettings(dropped=(*dropped, wrong))
        found[argument] = value if isinstance(default, bool) else float(value)
    if old and kind == "RMSprop":
        dropped.append("RMSprop's epsilon outside the root (that of Keras 3 is within)")
    around, more = _around(given, version)
    around |= {"schedule": schedule} if schedule else {}
    left = _left_out(given, (*defaults, "decay", *around))
    return OptimizerSettings(found, around, (*dropped, *more, *left))


def _rate(
    given: Mapping[str, Json], defaults: Mapping[str, float | bool], version: KerasVersion
) -> tuple[Json, dict[str, Json] | None, list[str]]:
    """Return the first learning rate, the schedule that it belongs to, and what is dropped."""
    rate = given.get("learning_rate", given.get("lr", defaults["learning_rate"]))
    decay = given.get("decay") if version.major < 3 or given.get("decay") else None
    if not isinstance(rate, dict):
        if not decay:
            return rate, None, []
        schedule = decay_of(rate, decay) if version.major < 3 else None
        return rate, schedule, [] if schedule else [f"decay {quote(decay)}"]
    dropped = [f"decay {quote(decay)}"] if decay else []
    schedule = read_schedule(rate.get("class_name"), rate.get("config"))
    if schedule is not None:
        return schedule.get("initial_learning_rate", 0.0), schedule, dropped
    first = rate.get("config")
    first = first.get("initial_learning_rate") if isinstance(first, dict) else None
    kept = f"schedule {quote(rate.get('class_name'))} (its first rate is kept)"
    return first, None, [kept, *dropped]


def _fits(argument: str, value: Json, default: float | bool) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < (1 if argument in BELOW_ONE else LARGEST)


def _left_out(settings: Mapping[str, Json], known: tuple[str, ...]) -> Iterator[str]:
    for key, value in settings.items():
        if value and key not in (*_INERT, *CLIPPING, *known):
            yield f"{key} {quote(value)}{_WHY.get(key, '')}"


def _around(given: Mapping[str, Json], version: KerasVersion) -> tuple[dict[str, Any], list[str]]:
    """Return what is done around each update, and what of it is dropped."""
    clipping, dropped = _clipping(given, version)
    around: dict[str, Any] = {"clipping": clipping} if clipping else {}
    steps = given.get("gradient_accumulation_steps")
    if type(steps) is int and 2 <= steps < MOST_STEPS and version.major >= 3:
        around["gradient_accumulation_steps"] = steps
    return around, dropped


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
