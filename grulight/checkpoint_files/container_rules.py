"""Rules of values that hold others, and of each that is inside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grulight.checkpoint_files.rules import Rule, Text, Unfit, shown


@dataclass(frozen=True)
class Nullable(Rule):
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
class Either(Rule):
    """What one of two rules says."""

    first: Rule
    second: Rule

    @property
    def expected(self) -> str:
        """The rules in words."""
        return f"{self.first.expected} or {self.second.expected}"

    def holds(self, value: Any) -> bool:
        """Return whether it is either."""
        return self.first.holds(value) or self.second.holds(value)

    def check(self, value: Any, where: str) -> None:
        """Check what is inside by the rule that it keeps."""
        super().check(value, where)
        (self.first if self.first.holds(value) else self.second).check(value, where)


@dataclass(frozen=True)
class ListOf(Rule):
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
class DictOf(Rule):
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
class JsonLines(Rule):
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
