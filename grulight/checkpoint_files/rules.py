"""Rules that a value from a checkpoint keeps, as data; each says what it expected.

Those of lists and dictionaries are in `container_rules`.
"""

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from grulight.checkpoint_files.unpickler import TensorStub

LARGEST = 2**53  # what a float counts to, and no training


class Unfit(Exception):
    """A value that breaks a rule: where, what it is, and what was expected."""


def is_tensor(value: object) -> bool:
    """Return whether a value is a tensor, or stands for one where torch need not be there."""
    torch = sys.modules.get("torch")
    return isinstance(value, TensorStub) or (torch is not None and isinstance(value, torch.Tensor))


def shown(value: Any) -> str:
    """Return a value from a file in a few words: it may be anything, of any size."""
    if is_tensor(value):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, str):
        return repr(value[:40])
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int) and abs(value) < 2**64:
        return repr(value)
    return f"a {type(value).__name__}"


class Rule(ABC):
    """What a value has to be."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """The rule in words."""

    @abstractmethod
    def holds(self, value: Any) -> bool:
        """Return whether a value keeps the rule, but for what is inside it."""

    def check(self, value: Any, where: str) -> None:
        """Check a value and what is inside it.

        Raises:
            Unfit: It breaks the rule.
        """
        if not self.holds(value):
            raise Unfit(f"{where} is {shown(value)}, expected {self.expected}")


@dataclass(frozen=True)
class Integer(Rule):
    """A whole number."""

    least: int = 0
    most: int = LARGEST

    @property
    def expected(self) -> str:
        """The rule in words."""
        return f"a whole number from {self.least} to {self.most}"

    def holds(self, value: Any) -> bool:
        """Return whether it is one."""
        return type(value) is int and self.least <= value <= self.most


@dataclass(frozen=True)
class Number(Rule):
    """A number."""

    least: float = -math.inf
    most: float = math.inf
    finite: bool = True

    @property
    def expected(self) -> str:
        """The rule in words."""
        limits = "" if self.least == -math.inf else f" from {self.least:g} to {self.most:g}"
        return f"a {'finite ' if self.finite else ''}number{limits}"

    def holds(self, value: Any) -> bool:
        """Return whether it is one."""
        if type(value) is int:
            return abs(value) <= LARGEST and self.least <= value <= self.most
        if type(value) is not float:
            return False
        if not math.isfinite(value):
            return not self.finite
        return self.least <= value <= self.most


@dataclass(frozen=True)
class Text(Rule):
    """A text, or one of a few."""

    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The rule in words."""
        return f"one of {', '.join(self.choices)}" if self.choices else "a text"

    def holds(self, value: Any) -> bool:
        """Return whether it is one."""
        return isinstance(value, str) and (not self.choices or value in self.choices)


@dataclass(frozen=True)
class Boolean(Rule):
    """True or false."""

    expected = "true or false"

    def holds(self, value: Any) -> bool:
        """Return whether it is one."""
        return isinstance(value, bool)


@dataclass(frozen=True)
class Anything(Rule):
    """Any plain value: the file was looked at before."""

    expected = "anything"

    def holds(self, value: Any) -> bool:
        """Return True."""
        return True


@dataclass(frozen=True)
class Nothing(Rule):
    """None: what would have an effect, and has no place in a file."""

    expected = "nothing"

    def holds(self, value: Any) -> bool:
        """Return whether it is None."""
        return value is None


@dataclass(frozen=True)
class TensorOf(Rule):
    """A dense tensor of some types; ``shape`` where it is known."""

    dtypes: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None

    @property
    def expected(self) -> str:
        """The rule in words."""
        kinds = " or ".join(self.dtypes)
        return f"a tensor {'' if self.shape is None else self.shape} of {kinds}"

    def holds(self, value: Any) -> bool:
        """Return whether it is one."""
        return (
            is_tensor(value)
            and str(value.dtype) in self.dtypes
            and not value.requires_grad
            and self.shape in (None, tuple(value.shape))
        )
