"""What may be tried for a setting: ``int(8, 128, log)``, ``float(1e-4, 1e-1, log)``, ``choice(…)``.

The words and their meaning are Optuna's distributions; this file only reads them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from grulight.errors import InputError, option

_EXPECTED = (
    "Expected int(8, 128), float(1e-4, 1e-1, log) or choice(a, b); int and float also take "
    "step=…, as Optuna has them."
)
_MOST_CHOICES = 1000
_OF_KERAS = ("hidden_size", "num_layers", "bidirectional", "dropout", "bias", "init", "kernel")
_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


def parse_space(name: str, text: Any) -> BaseDistribution:
    """Return what may be tried for the setting ``name``.

    Args:
        name: The setting, such as ``model.hidden_size``; for messages.
        text: ``int(low, high[, log | step=…])``, ``float(…)`` likewise, ``choice(a, b, …)``.

    Raises:
        InputError: It does not say that.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{_called(name[:100])}: expected the name of an option of fit.")
    found = re.fullmatch(r"\s*(int|float|choice)\s*\((.*)\)\s*", str(text), re.DOTALL)
    if not found:
        raise InputError(f"{_called(name)} {str(text)[:100]!r}: is no space. {_EXPECTED}")
    kind, inside = found.groups()
    words = [word.strip() for word in inside.split(",")]
    if kind == "choice":
        if "" in words or len(set(words)) < len(words) or len(words) > _MOST_CHOICES:
            raise InputError(
                f"{_called(name)} {str(text)[:100]!r}: expected 1 to {_MOST_CHOICES} choices, "
                "none empty, none twice."
            )
        return CategoricalDistribution(words)
    try:
        return _range(int if kind == "int" else float, words)
    except ValueError as error:
        raise InputError(
            f"{_called(name)} {str(text)[:100]!r}: {str(error)[:200]}. {_EXPECTED}"
        ) from error


def _called(name: str) -> str:
    """Return a setting that is searched as it is to be given: in Python it is a key of search."""
    return f"{option('search')}.{name}"


def _range(number: type[int] | type[float], words: list[str]) -> BaseDistribution:
    if len(words) < 2:
        raise ValueError("it needs two borders")
    low, high = number(words[0]), number(words[1])
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("its borders are not finite")
    options: dict[str, Any] = {}
    for word in words[2:]:
        key, _, value = (part.strip() for part in word.partition("="))
        if key == "log" and not value:
            options["log"] = True
        elif key == "step" and value:
            options["step"] = number(value)
        else:
            raise ValueError(f"{word!r} is not known")
    if number is int:
        return IntDistribution(int(low), int(high), **options)
    return FloatDistribution(low, high, **options)


def parse_spaces(search: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return the spaces of all settings, by name; ``search`` may be nested as YAML has it.

    Raises:
        InputError: One of them is none.
    """
    found: dict[str, BaseDistribution] = {}
    for name, value in search.items():
        if isinstance(value, Mapping):
            inner = {f"{name}.{key}": each for key, each in value.items()}
            found |= parse_spaces(inner)
        else:
            found[str(name)] = parse_space(str(name), value)
    return found


def named_spaces(arguments: Sequence[str]) -> dict[str, Any]:
    """Return ``--search.NAME SPACE`` and ``--search.NAME=SPACE`` by name."""
    found: dict[str, Any] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, space = argument.removeprefix("--search.").partition("=")
        found[name] = space if equals else next(rest, "")
    return found


def of_keras_model(
    spaces: Mapping[str, BaseDistribution], *, said: bool
) -> dict[str, BaseDistribution]:
    """Return the spaces without settings that a Keras model has of its own.

    Args:
        spaces: By setting.
        said: Whether the user named them, and not we.

    Raises:
        InputError: The user searches what would change nothing.
    """
    own = [name for name in spaces if name.removeprefix("model.") in _OF_KERAS]
    if own and said:
        raise InputError(
            f"{_called(own[0])}: the Keras model has its own, and a search of it would change "
            "nothing. Leave it out, or leave out "
            f"{option('model.from_keras')}."
        )
    return {name: space for name, space in spaces.items() if name not in own}


def corners(space: BaseDistribution) -> list[Any]:
    """Return the values of a space that an option would refuse first: borders, or all choices."""
    if isinstance(space, CategoricalDistribution):
        return list(space.choices)
    assert isinstance(space, (IntDistribution, FloatDistribution))
    return sorted({space.low, space.high})


def as_options(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as a command line has them."""
    return [f"--{name}={value}" for name, value in settings.items()]
