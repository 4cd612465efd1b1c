"""Rules that a value from a checkpoint keeps, as data; each says what it expected."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

LARGEST = 2**53  # what a float counts to, and no training


class Unfit(Exception):
    """A value that breaks a rule: where, what it is, and what was expected."""


def shown(value: object) -> str:
    """Return a value from a file in a few words: it may be anything, of any size."""
    if isinstance(value, Tensor):
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
class Whole(Rule):
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
class Real(Rule):
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
    """A text, or one of a few; ``pattern`` must match all of it."""

    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The rule in words."""
        return f"one of {', '.join(self.choices)}" if self.choices else "a text"

    def holds(self, value: Any) -> bool:
        """Return whether it is one."""
        return isinstance(value, str) and (not self.choices or value in self.choices)


@dataclass(frozen=True)
class Flag(Rule):
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
class Numbers(Rule):
    """A dense tensor of some types; ``shape`` where it is known."""

    dtypes: tuple[torch.dtype, ...] = ()
    shape: tuple[int, ...] | None = None

    @property
    def expected(self) -> str:
        """The rule in words."""
        kinds = " or ".join(map(str, self.dtypes))
        return f"a tensor {'' if self.shape is None else self.shape} of {kinds}"

    def holds(self, value: Any) -> bool:
        """Return whether it is one."""
        return (
            isinstance(value, Tensor)
            and value.dtype in self.dtypes
            and not value.requires_grad
            and self.shape in (None, tuple(value.shape))
        )


@dataclass(frozen=True)
class Either(Rule):
    """None, or what another rule says."""

    rule: Rule

    @property
    def expected(self) -> str:
        """The rule in words."""
        return f"nothing or {self.rule.expected}"

    def holds(self, value: Any) -> bool:
        """Return whether it is either."""
        return value is None or self.rule.holds(value)

    def check(self, value: Any, where: str) -> None:
        """Check what is inside, where there is something."""
        super().check(value, where)
        if value is not None:
            self.rule.check(value, where)


@dataclass(frozen=True)
class Items(Rule):
    """A list, each item of which keeps a rule."""

    each: Rule
    least: int = 0

    @property
    def expected(self) -> str:
        """The rule in words."""
        return "a list" + (f" of at least {self.least}" if self.least else "")

    def holds(self, value: Any) -> bool:
        """Return whether it is a list."""
        return isinstance(value, list | tuple) and len(value) >= self.least

    def check(self, value: Any, where: str) -> None:
        """Check the list and its items."""
        super().check(value, where)
        for at, item in enumerate(value):
            self.each.check(item, f"{where}[{at}]")


@dataclass(frozen=True)
class Table(Rule):
    """A dictionary of any keys of one kind, each value of which keeps a rule."""

    each: Rule
    keys: Rule = field(default_factory=Text)

    expected = "a dictionary"

    def holds(self, value: Any) -> bool:
        """Return whether it is a dictionary."""
        return isinstance(value, dict)

    def check(self, value: Any, where: str) -> None:
        """Check the dictionary, its keys and values."""
        super().check(value, where)
        for key, item in value.items():
            self.keys.check(key, f"a key of {where}")
            self.each.check(item, f"{where}[{shown(key)}]")


@dataclass(frozen=True)
class Record(Rule):
    """A dictionary of known keys; others are somebody else's, and left alone.

    Attributes:
        needed: Rules of what must be there.
        optional: Rules of what may be.
    """

    needed: Mapping[str, Rule] = field(default_factory=dict)
    optional: Mapping[str, Rule] = field(default_factory=dict)

    @property
    def expected(self) -> str:
        """The rule in words."""
        return f"a dictionary with {', '.join(self.needed)}" if self.needed else "a dictionary"

    def holds(self, value: Any) -> bool:
        """Return whether it is a dictionary."""
        return isinstance(value, dict)

    def check(self, value: Any, where: str) -> None:
        """Check the dictionary and what its known keys hold."""
        super().check(value, where)
        for key, rule in self.needed.items():
            if key not in value:
                raise Unfit(f"{where or 'it'} lacks {key!r}")
            rule.check(value[key], f"{where}.{key}" if where else key)
        for key in self.optional.keys() & value.keys():
            self.optional[key].check(value[key], f"{where}.{key}" if where else key)


@dataclass(frozen=True)
class Counts(Record):
    """Counts of one event, each of which comes after the one before."""

    order = ("ready", "started", "processed", "completed")

    def check(self, value: Any, where: str) -> None:
        """Check the counts and their order."""
        super().check(value, where)
        found = [value[name] for name in self.order if name in value]
        if found != sorted(found, reverse=True):
            raise Unfit(f"{where} counts {found}, expected none above the one before")


@dataclass(frozen=True)
class Lines(Rule):
    """JSON, a line for each of several; or a list of them."""

    each: Rule

    expected = "a text of JSON lines"

    def holds(self, value: Any) -> bool:
        """Return whether it may be one."""
        return isinstance(value, str | list)

    def check(self, value: Any, where: str) -> None:
        """Check each line."""
        super().check(value, where)
        for at, line in enumerate(value.splitlines() if isinstance(value, str) else value):
            try:
                item = json.loads(line) if isinstance(value, str) else line
            except (ValueError, RecursionError):
                raise Unfit(f"{where}, line {at + 1}, is not JSON") from None
            self.each.check(item, f"{where}, line {at + 1},")
