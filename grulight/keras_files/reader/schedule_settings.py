"""The learning rate schedule of a Keras file's optimiser: a word of a closed table, and numbers."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from grulight.keras_files.reader.compiled_loss import LARGEST
from grulight.keras_files.reader.untrusted_text import Json

MOST_VALUES = 10_000  # of a rate that is constant in pieces
_RATE, _STEPS = {"initial_learning_rate": None}, {"decay_steps": None}
_STAIRS = {"decay_rate": None, "staircase": False}
# Keras' arguments and their defaults; None for those that a file must have
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ExponentialDecay": {**_RATE, **_STEPS, **_STAIRS},
    "InverseTimeDecay": {**_RATE, **_STEPS, **_STAIRS},
    "PolynomialDecay": {
        **{**_RATE, **_STEPS, "end_learning_rate": 0.0001, "power": 1.0, "cycle": False},
    },
    "CosineDecay": {**_RATE, **_STEPS, "alpha": 0.0, "warmup_target": None, "warmup_steps": 0},
    "CosineDecayRestarts": {
        **{**_RATE, "first_decay_steps": None, "t_mul": 2.0, "m_mul": 1.0, "alpha": 0.0},
    },
}
_LEAST = {  # where it is not zero
    **dict.fromkeys(("decay_steps", "first_decay_steps"), 1e-6),
    "t_mul": 1.0,  # below it Keras takes roots of what is negative
}


def read_schedule(kind: Json, given: Json) -> dict[str, Json] | None:
    """Return `class` and arguments of a schedule in Keras' words; None where it is not known.

    Args:
        kind: Its class in Keras.
        given: Its arguments.
    """
    if not isinstance(kind, str) or not isinstance(given, dict):
        return None
    if kind == "PiecewiseConstantDecay":
        return _pieces(given)
    if kind not in ARGUMENTS or given.keys() - ARGUMENTS[kind] - {"name"}:
        return None
    found: dict[str, Json] = {"class": kind}
    for argument, default in ARGUMENTS[kind].items():
        value: Any = given.get(argument)
        value = default if value is None else value
        if argument == "warmup_target" and value is None:
            pass
        elif isinstance(default, bool):
            if not isinstance(value, bool):
                return None
        elif not _is_number(value, _LEAST.get(argument, 0.0)):
            return None
        found[argument] = float(value) if _is_number(value) else value
    return found


def decay_of(rate: Json, decay: Json) -> dict[str, Json] | None:
    """Return the `decay` of older optimisers as a schedule: `rate / (1 + decay · step)`."""
    given = {"initial_learning_rate": rate, "decay_steps": 1, "decay_rate": decay}
    return read_schedule("InverseTimeDecay", given)


def _pieces(given: Mapping[str, Json]) -> dict[str, Json] | None:
    boundaries, values = given.get("boundaries"), given.get("values")
    if not isinstance(boundaries, list) or not isinstance(values, list):
        return None
    if not 0 < len(boundaries) == len(values) - 1 < MOST_VALUES:
        return None
    if not all(map(_is_number, (*boundaries, *values))):
        return None
    if any(first >= then for first, then in pairwise(boundaries)):
        return None  # where ranges overlap Keras adds up their values
    rates = [float(value) for value in values]
    return {
        **{"class": "PiecewiseConstantDecay", "initial_learning_rate": rates[0]},
        **{"boundaries": [int(each) for each in boundaries], "values": rates},
    }


def _is_number(value: Json, least: float = 0.0) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and least <= value < LARGEST
