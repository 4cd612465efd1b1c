"""A pickle as data: nothing that it names is looked up, called or made.

Unpickling runs what a pickle says. Here the operations that a pickle of numbers is made of are
followed on plain values, where a name stays a name and a call a note of it. Layout: Python's
pickletools.
"""

import pickletools
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from grulight.errors import InputError

MAX_OPERATIONS = 500_000  # of a file; a variable takes a hundred
CONSTANTS: dict[str, Callable[[], Any]] = {
    **{"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list},
    **{"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False},
}
VALUES = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
)
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MARK = object()


class Named(NamedTuple):
    """What a pickle names: a module and what is in it, as text."""

    module: str
    name: str


class Made:
    """What a pickle would make.

    Attributes:
        by: What would be called.
        given: What with.
        state: What the result would be told.
    """

    def __init__(self, by: Any, given: Any) -> None:
        self.by, self.given = by, given
        self.state: Any = None

    @property
    def is_array(self) -> bool:
        """Whether it is NumPy's array or number, whose parts NumPy 1 named otherwise."""
        known = isinstance(self.by, Named) and self.by.name in ("_reconstruct", "scalar")
        return known and self.by.module in ("numpy.core.multiarray", "numpy._core.multiarray")


def followed(file: IO[bytes], operations: Iterator[int]) -> Made:
    """Return what a pickle describes.

    Args:
        file: Where the pickle begins.
        operations: Yields as often as operations may still be followed.

    Raises:
        InputError: It has other operations.
        ValueError, TypeError, LookupError: It is damaged.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for operation, argument, _ in pickletools.genops(file):
        given: Any = argument
        if next(operations, None) is None:
            raise refused("more operations than the pickles of a model have")
        name = operation.name
        if name == "STOP":
            break
        if name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if given is None else given] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[given])
        else:
            _step(name, given, stack)
    [whole] = stack
    return require_array(whole)


def _step(name: str, given: Any, stack: list[Any]) -> None:
    """Follow one operation."""
    if name in VALUES:
        stack.append(given)
    elif name in CONSTANTS:
        stack.append(CONSTANTS[name]())
    elif name in TUPLES:
        stack.append(tuple(_popped(stack, TUPLES[name])))
    elif name == "MARK":
        stack.append(MARK)
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name in ("APPEND", "APPENDS"):
        items = _popped(stack, 1) if name == "APPEND" else _since_mark(stack)
        _last(stack, list).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = _popped(stack, 2) if name == "SETITEM" else _since_mark(stack)
        _last(stack, dict).update(zip(items[::2], items[1::2], strict=True))
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        stack.append(Named(*(given.split(" ") if name == "GLOBAL" else _popped(stack, 2))))
    elif name in ("REDUCE", "NEWOBJ"):
        stack.append(Made(*_popped(stack, 2)))
    elif name == "BUILD":
        [state] = _popped(stack, 1)
        _last(stack, Made).state = state
    elif name not in ("PROTO", "FRAME"):
        raise refused(f"the operation {name}")


def _popped(stack: list[Any], count: int) -> list[Any]:
    found = stack[-count:]
    if len(found) < count or any(each is MARK for each in found):
        raise refused("an operation without what it works on")
    del stack[-count:]
    return found


def _since_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1
    while stack[at] is not MARK:  # from the end, so that everything is looked at once
        at -= 1
        if at < 0:
            raise refused("an operation without what it works on")
    found = stack[at + 1 :]
    del stack[at:]
    return found


def _last(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        raise refused(f"an operation on a {type(stack[-1]).__name__}")
    return stack[-1]


def require_array(made: Any) -> Made:
    """Return what must be an array.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(made, Made) or not made.is_array:
        raise refused(f"a {type(made).__name__} where an array is expected")
    return made


def refused(what: str) -> InputError:
    """Return the refusal of a pickle that holds something else."""
    return InputError(f"its pickle holds {what}. Refused: nothing that it says is run.")
