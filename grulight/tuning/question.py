"""What a study is asked: it goes on only with the same question."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
