"""What a parser says of an option, in a line: the option, its value, what was expected instead."""

import re
from argparse import Action, ArgumentParser
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from typing import Any, NoReturn, get_args

from grulight.errors import InputError, listed

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list such as [a, b]",
    "dict": "a mapping such as {a: 1}",
}
_KEY = re.compile(r'Parser key "([^"]+)"')
_TYPE = re.compile(r"Expected a <class '(\w+)'>")
_CHOICES = re.compile(r"Expected a typing\.Literal\[([^\]]*)\]")
_VALUE = re.compile(r"(?:Got|Given) value: (.*)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (.+)")
_CLASS = re.compile(r"class_path '([\w.]+)'")
_FOREIGN = re.compile(r"Option '(\w+)' is not accepted")
_LACKS = re.compile(r"the following arguments are required: (.+)")
_WHY = re.compile(r"class_path '[\w.]+':\s*(.+)")
_UNKNOWN = re.compile(r"(?:unrecognized arguments|ambiguous option): (\S+)")
_OF_FILE = re.compile(r"Group '([\w.]+)' does not accept option '(\w+)'")
# options that a class has, which nobody may have chosen yet
_OF_CLASSES = ("--optimizer.lr", "--optimizer.weight_decay", "--optimizer.momentum")


class OneLineParser(ArgumentParser):
    """The parser of a command that has options of its own alone."""

    def error(self, message: str) -> NoReturn:
        """Refuse arguments in a line.

        Raises:
            InputError: Always.
        """
        raise InputError(in_a_line(message, self._actions))


def in_a_line(message: str, options: Sequence[Action]) -> str:
    """Return what jsonargparse says, in words of the command line.

    Args:
        message: What it says; what is not known here stays as it is.
        options: All that the command has.
    """
    if unknown := _UNKNOWN.match(message):
        return message if message.endswith("?") else f"{message[:300]}{_near(unknown[1], options)}"
    if foreign := _OF_FILE.match(message):
        known = [each.dest for each in options]
        near = get_close_matches(".".join(foreign.groups()), known, 1, 0.8)
        return f"{message}." + (f" Did you mean {near[0]}?" if near else "")
    keys = list(dict.fromkeys(".".join(_KEY.findall(message)).split(".")))
    if not any(keys):
        return message
    name = f"--{'.'.join(keys)}"
    of_class = _of_class(name, message) if _CLASS.search(message) else None
    absent = None if len(_KEY.findall(message)) > 1 else _NO_CLASS.search(message)
    if absent:
        return f"{name} {absent[1]}: no such class. {_classes(absent[1], '.'.join(keys), options)}"
    value = _VALUE.search(message)
    expected = _expected(message, value[1] if value else "")
    if value and expected and not of_class:
        return f"{name} {value[1]}: expected {expected}"
    return of_class or f"{name}: {_KEY.sub('', message).lstrip(': ')}"


def _of_class(name: str, message: str) -> str | None:
    """Return what is wrong with a class that an option names, or with the settings of it."""
    found = _CLASS.findall(message)[-1]
    if foreign := _FOREIGN.search(message):
        return f"{name}.{foreign[1]}: {_no_such_setting(name, foreign[1], found)}"
    if lacks := _LACKS.search(message):
        needed = ", ".join(f"{name}.{each.strip()}" for each in lacks[1].split(","))
        return f"{name} {_last(found)}: needs {needed}."
    if len(_KEY.findall(message)) == 1 and (why := _WHY.search(message)):
        return f"{name} {found}: cannot be used ({why[1]})."
    return None


def _near(given: str, options: Sequence[Action]) -> str:
    """Return which options may be meant by one that is not known."""
    if not given.startswith("--"):
        return ". Did you mean --data.source before it?" if "." in given else ""
    names = [each for action in options for each in action.option_strings if "." in each]
    whole = [each for action in options for each in action.option_strings if "." not in each]
    near = get_close_matches(given, [*names, *whole, *_OF_CLASSES], 2, 0.8)
    if not near and "." not in given:  # whose part was left out
        ends = {_last(each): each for each in (*_OF_CLASSES, *names)}
        near = [ends[each] for each in get_close_matches(given[2:], ends, 2, 0.7)]
    groups = {each.partition(".")[0] for each in names}
    near = [each for each in near if each not in groups]
    return f". Did you mean {' or '.join(near)}?" if near else ""


def _no_such_setting(name: str, setting: str, path: str) -> str:
    module, _, kind = path.rpartition(".")
    known = [*signature(getattr(import_module(module), kind)).parameters]
    near = get_close_matches(setting, known, 2, 0.6)
    meant = " or ".join(f"{name}.{each}" for each in near)
    return f"{kind} has no such option. " + (f"Did you mean {meant}?" if near else _one_of(known))


def _classes(name: str, key: str, options: Sequence[Action]) -> str:
    """Return which classes may be meant by a name."""
    typed = [getattr(each, "_typehint", None) for each in options if each.dest == key]
    names = sorted({each for kind in typed for each in _subclasses(kind)})
    if near := get_close_matches(_last(name), names, 3, 0.6):
        return f"Did you mean {' or '.join(near)}?"
    return _one_of(names)


def _subclasses(kind: Any) -> Iterator[str]:
    """Yield the names of all classes that a type takes."""
    for each in get_args(kind):
        yield from _subclasses(each)
    if isinstance(kind, type) and not kind.__module__.startswith("builtins"):
        for each in kind.__subclasses__():
            if not each.__name__.startswith("_"):
                yield each.__name__
            yield from _subclasses(each)


def _expected(message: str, value: str) -> str:
    """Return what the types of an option take, and what may be meant by a value."""
    kinds = _TYPE.findall(message)
    words = [_WORDS[kind] for kind in kinds if kind in _WORDS]
    if "float" in kinds:
        words = [each for each in words if each != _WORDS["int"]]
    choices = [each for found in _CHOICES.findall(message) for each in re.split(r",\s*", found)]
    names = list(dict.fromkeys(each.strip("'\"") for each in choices))
    if names:
        words.insert(0, f"one of {listed(names, 12)}" if len(names) > 1 else names[0])
    said = " or ".join(dict.fromkeys(words))
    near = get_close_matches(value, names, 1, 0.6)
    return said and f"{said}." + (f" Did you mean {near[0]}?" if near else "")


def _one_of(names: Sequence[str]) -> str:
    return f"There are {listed(names)}."


def _last(name: str) -> str:
    return name.rpartition(".")[2]
