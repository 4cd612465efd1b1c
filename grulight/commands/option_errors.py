"""What a parser says of an option, in a line: the option, its value, what was expected instead."""

import re
from argparse import Action, ArgumentParser
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import isfunction, signature
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
_TYPE = re.compile(r"Expected (?:a )?<class '(\w+)'>")
_CHOICES = re.compile(r"Expected a typing\.Literal\[([^\]]*)\]")
_VALUE = re.compile(r"(?:Got|Given) value: (.*)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (.+)")
_CLASS = re.compile(r"class_path '([\w.]+)'")
_FOREIGN = re.compile(r"Option '(\w+)' is not accepted")
_LACKS = re.compile(r"the following arguments are required: (.+)")
_WHY = re.compile(r"class_path '[\w.]+':\s*(.+)")
_UNKNOWN = re.compile(r"(?:unrecognized arguments|ambiguous option): (\S+)")
_SUBTYPES = re.compile(r"Subtypes: \[(.*)\]")
_NO_SUBCLASS = re.compile(r"does not correspond to a subclass of (\w+)")
_NO_SETTINGS = re.compile(r"Unable to load config '(.*?)'")
_RAISED = re.compile(r"Errors:\s+- (.*?)\n.*class_path='([\w.]+)'", re.DOTALL)
_PROBLEM = "Problem with given class_path"
_OF_FILE = re.compile(r"Group '([\w.]+)' does not accept option '(\w+)'")
_GIVEN = ("self", "args", "kwargs", "optimizer", "params")  # of a class, which nobody says
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
    if lacks := _LACKS.match(message):
        return f"the following arguments are required: {_as_options(lacks[1], options)}"
    # of several classes that fit an option, the one that was chosen comes first
    message = _PROBLEM.join(message.split(_PROBLEM)[:2])
    keys = list(dict.fromkeys(".".join(_KEY.findall(message)).split(".")))
    if not any(keys):
        return message
    name = f"--{'.'.join(keys)}"
    value = _VALUE.search(message)
    if unread := _NO_SETTINGS.search(message):
        meant = f" Did you mean {name}.source {unread[1]}?" if name == "--data" else ""
        return f"{name} {unread[1]}: is no file of settings.{meant}"
    of_class = _of_class(name, message) if _CLASS.search(message) else None
    if value and not of_class and (other := _NO_SUBCLASS.search(message)):
        return f"{name} {value[1]}: is no {other[1]}."
    absent = None if len(_KEY.findall(message)) > 1 else _NO_CLASS.search(message)
    if absent:
        return f"{name} {absent[1]}: no such class. {_classes(absent[1], '.'.join(keys), options)}"
    expected = _expected(message, value[1] if value else "")
    if value and expected and not of_class:
        return f"{name} {value[1]}: expected {expected}"
    return of_class or f"{name}: {_KEY.sub('', message).lstrip(': ')}"


def of_class_in_a_line(message: str) -> str:
    """Return what a class has said of its settings, where jsonargparse has told of it at length."""
    raised = _RAISED.search(message)
    return f"{raised[2]}: cannot be used ({raised[1]})." if raised else message


def _as_options(names: str, options: Sequence[Action]) -> str:
    """Return options as they are given, of whose names jsonargparse leaves out the signs."""
    given = {each.dest: each.option_strings[0] for each in options if each.option_strings}
    return ", ".join(given.get(each, each) for each in names.split(", "))


def _of_class(name: str, message: str) -> str | None:
    """Return what is wrong with a class that an option names, or with the settings of it."""
    found = _CLASS.findall(message)[-1]
    bases = [_last(each) for each in re.findall(r"[\w.]{6,}", _first(_SUBTYPES, message))]
    if (foreign := _FOREIGN.search(message)) and bases[:1] == [_last(found)]:
        return f"{name}.{foreign[1]}: is an option of a class; choose one first, as {name} CLASS."
    if foreign:
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
    known = [each.rstrip("+") for action in options for each in action.option_strings]
    names = [each for each in dict.fromkeys(known) if "." in each]
    whole = [each for each in dict.fromkeys(known) if "." not in each]
    near = get_close_matches(given, [*names, *whole, *_OF_CLASSES], 2, 0.8)
    if not near and "." not in given:  # whose part was left out
        ends = {_last(each): each for each in (*_OF_CLASSES, *names)}
        near = [ends[each] for each in get_close_matches(given[2:], ends, 2, 0.7)]
    groups = {each.partition(".")[0] for each in names}
    part, dot, rest = given.partition(".")
    if not dot:  # a class is chosen by the name of its group
        near = [each for each in groups if each in get_close_matches(part, groups, 1, 0.8)] or near
    elif not (near := [each for each in near if each not in groups]):
        near = [f"{each}.{rest}" for each in get_close_matches(part, groups - {part}, 1, 0.8)]
    return f". Did you mean {' or '.join(near)}?" if near else ""


def _no_such_setting(name: str, setting: str, path: str) -> str:
    module, _, kind = path.rpartition(".")
    inits = [vars(base).get("__init__") for base in getattr(import_module(module), kind).__mro__]
    taken = [name for init in inits if isfunction(init) for name in signature(init).parameters]
    known = [each for each in dict.fromkeys(taken) if each not in _GIVEN]
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


def _first(pattern: re.Pattern[str], message: str) -> str:
    found = pattern.search(message)
    return found[1] if found else ""


def _last(name: str) -> str:
    return name.rpartition(".")[2]
