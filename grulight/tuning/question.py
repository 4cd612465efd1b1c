"""What a study is asked: it goes on only with the same question."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grulight.errors import InputError, option


@dataclass(frozen=True)
class Asked:
    """What a study was asked for; it goes on only with the same.

    Attributes:
        maximizes: Whether more is better.
        question: All that decides the trials, as plain values.
    """

    maximizes: bool
    question: Mapping[str, Any]


def difference(known: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return the first difference of two questions, in words."""
    first = next(name for name in sorted({*known, *asked}) if known.get(name) != asked.get(name))
    return f"{first}: {str(known.get(first))[:100]}, now {str(asked.get(first))[:100]}"


def require_sensible(config: Mapping[str, Any], validates: float) -> None:
    """Check what a study is asked beside ``fit``'s options.

    Args:
        config: The options.
        validates: What validates, of the training part, where something is said.

    Raises:
        InputError: A number is too small, or two options contradict each other.
    """
    least = {"trials": 1, "workers": 1, "finalists": 0, "timeout": 0, "folds": 0}
    for name, number in least.items():
        if config[name] is not None and config[name] < number:
            raise InputError(f"{option(name, config[name])}: expected at least {number}.")
    if config["finalists"] and not config["folds"]:
        raise InputError(
            f"{option('finalists')}: other folds judge them; add {option('folds', 5)}, or leave it "
            "out."
        )
    if config["folds"] and validates:
        raise InputError(
            f"{option('folds')}: every fold validates once; leave out {option('data.val_size')}."
        )
