"""Keras' optimiser and schedule as a file was compiled with them, of closed tables.

Only constructors of Keras' own classes are called, with numbers: nothing in the file is resolved.
"""

from collections.abc import Mapping
from typing import Any

from parity.question import Question
from parity.sides.keras_setup import keras, tf

_OPTIMIZERS = {
    **{"adam": "Adam", "adamw": "AdamW", "adamax": "Adamax", "nadam": "Nadam", "lion": "Lion"},
    **{"adagrad": "Adagrad", "adadelta": "Adadelta", "rmsprop": "RMSprop", "sgd": "SGD"},
}
_OF_OPTIMIZERS = (
    *("learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad", "rho", "momentum", "centered"),
    *("nesterov", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm"),
    *("initial_accumulator_value", "gradient_accumulation_steps"),
)
_SCHEDULES = (
    *("ExponentialDecay", "InverseTimeDecay", "PolynomialDecay"),
    *("CosineDecay", "CosineDecayRestarts", "PiecewiseConstantDecay"),
)


def optimizer_of(question: Question) -> tuple[Any, list[float] | None]:
    """Return the optimiser that a file was compiled with, or Adam; and the rates of its schedule.

    The optimiser itself starts at the first rate, and is told each of the question's.

    Args:
        question: Its `compiled` is what the file says of `compile`, and its `before_2_4` whether a
            Keras outside TensorFlow wrote it: that one's clipnorm was of all variables.
    """
    raw, before_2_4 = question.settings["compiled"], question.settings["before_2_4"]
    name, given = named(raw.get("optimizer_config") or raw.get("optimizer") or "adam")
    given = {"learning_rate": given["lr"], **given} if "lr" in given else dict(given)
    rates = question.settings["rates"]
    own = None
    if rates is not None:
        schedule = _schedule(given)
        own = [float(schedule(tf.constant(step, tf.int64))) for step in range(len(rates))]
        given["learning_rate"] = rates[0]
    elif isinstance(rate := given.get("learning_rate"), dict):  # a schedule, which is named
        given["learning_rate"] = rate["config"]["initial_learning_rate"]
    return _made(name, given, before_2_4), own


def _schedule(given: Mapping[str, Any]) -> Any:
    rate = given["learning_rate"]
    if not isinstance(rate, dict):  # of older optimisers
        return keras.optimizers.schedules.InverseTimeDecay(rate, 1, given["decay"])
    kind, config = rate["class_name"], rate["config"]
    if kind not in _SCHEDULES:
        raise ValueError(f"no schedule of Keras is called {kind!r}.")
    settings = {key: value for key, value in config.items() if key != "name" and value is not None}
    return getattr(keras.optimizers.schedules, kind)(**settings)


def _made(name: str, given: dict[str, Any], before_2_4: bool) -> Any:
    if before_2_4 and given.get("clipnorm"):
        given["global_clipnorm"], given["clipvalue"] = given.pop("clipnorm"), None
    kind = _OPTIMIZERS[name.rpartition(">")[2].lower()]
    own = {k: v for k, v in given.items() if k in _OF_OPTIMIZERS and v is not None}
    rules = [rule for rule in ("clipnorm", "global_clipnorm", "clipvalue") if own.get(rule)]
    for rule in rules[1:]:  # Keras refuses several, and older ones took the first
        del own[rule]
    return getattr(keras.optimizers, kind)(**own)


def named(said: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the arguments of an object that a file notes."""
    if isinstance(said, str):
        return said, {}
    config = said.get("config")
    if isinstance(config, dict):
        return said["class_name"], config
    return str(config), {}  # a function is noted by its name
