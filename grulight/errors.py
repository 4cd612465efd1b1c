"""The one exception for input that a user can mend, and text from anywhere made fit to print."""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches

_OPTIONS: ContextVar[Mapping[str, str]] = ContextVar("options")

_LONGEST_NAME = 40  # in a list of them
MAX_LINE = 480  # with the name of the command before it, a line has at most 500 characters


def one_line(text: object, limit: int = MAX_LINE) -> str:
    r"""Return a text as one printable line, shortened in its middle.

    Names come from files that nobody vouches for: a line break, or a sequence that makes a
    terminal act, is shown as Python writes it, such as ``\n`` and ``\x1b``.

    Args:
        text: What is turned into text.
        limit: Most characters of the line.
    """
    whole = str(text)
    if len(whole) <= limit:
        line = _printable(whole)
        if len(line) <= limit:
            return line
    # the end of a message says what to do
    tail = limit // 3
    head = limit - tail - len(" … ")
    return f"{_printable(whole[:head])[:head]} … {_printable(whole[-tail:])[-tail:]}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class InputError(ValueError):
    """Bad input: what was wrong, where (file, row, key), what was expected, what to do.

    The message is one printable line of bounded length, whatever it quotes; the command line
    prints it without a traceback and exits with code 2.
    """

    def __init__(self, message: object) -> None:
        super().__init__(one_line(message))


@contextmanager
def options_called(names: Mapping[str, str]) -> Iterator[None]:
    """Let messages name arguments of Python as the options that were typed.

    Args:
        names: The option of each argument, such as ``--up-to`` of ``up_to``.
    """
    before = _OPTIONS.set({**_OPTIONS.get({}), **names})
    try:
        yield
    finally:
        _OPTIONS.reset(before)


def option(name: str, value: object = None) -> str:
    """Return an argument as it is to be given, such as ``up_to='gru'`` or ``--up-to gru``.

    Args:
        name: The argument in Python, such as ``up_to``; or with the part of a configuration that
            it belongs to, such as ``data.batch_size``, which Python calls ``batch_size`` and the
            command line, unless ``options_called`` says otherwise, ``--data.batch_size``.
        value: What to give; by default only the argument is named.
    """
    part, _, argument = name.rpartition(".")
    names = _OPTIONS.get({})
    typed = names.get(name, f"--{name}" if names and part else None)
    if value is None:
        return typed or argument
    if typed is None:
        return f"{argument}={value!r}"
    return f"{typed} {shlex.quote(_typed(value))}"


def _typed(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def require_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse an argument that is none of its choices: Python does not look at types.

    Args:
        name: The argument, as ``option`` takes it.
        value: What was given.
        choices: What may be given.

    Raises:
        InputError: It is none of them.
    """
    if value not in choices:
        near = get_close_matches(str(value), [*map(str, choices)], 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        shown = ", ".join(str(each) for each in choices if each is not None)
        raise InputError(f"{option(name, value)}: expected one of {shown}.{meant}")


def listed(names: Sequence[str], most: int = 8, like: Collection[str] = ()) -> str:
    """Return names, and the number of those that are too many for a line.

    Args:
        names: All of them.
        most: How many are shown.
        like: What was asked for instead; where not all are shown, the nearest to it are.
    """
    if len(names) > most:
        near = (each for name in like for each in get_close_matches(name, names, most))
        names = [*dict.fromkeys((*near, *names))]
    shown = ", ".join(one_line(name, _LONGEST_NAME) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
