"""Arrays in a pickle, read as data: nothing that the pickle names is looked up, called or made.

Keras keeps a dictionary of its variables as one object in `model.weights.npz`, which NumPy
pickles; and unpickling runs what the pickle says. So the operations that such a pickle is made of
are followed here on plain values, where a name stays a name and a call a note of it, and the
numbers are then taken from where NumPy's arrays keep them. Layout: Python's pickletools, and
`ndarray.__reduce__` of NumPy (numpy/_core/src/multiarray/methods.c).
"""

import math
import pickletools
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.keras_files.reader.untrusted_text import quote

MAX_OPERATIONS = 500_000  # of a file; a variable takes a hundred
MAX_AXIS = (1 << 31) - 1
KINDS = "biuf"  # of NumPy's types: numbers
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
        """Whether it is NumPy's array, whose parts NumPy 1 named otherwise than NumPy 2."""
        known = isinstance(self.by, Named) and self.by.name == "_reconstruct"
        return known and self.by.module in ("numpy.core.multiarray", "numpy._core.multiarray")


def pickled_arrays(content: bytes, operations: Iterator[int]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a pickle of NumPy's that holds one dictionary of arrays or variables.

    Args:
        content: The pickle.
        operations: Yields as often as operations may still be followed.

    Raises:
        InputError: It holds anything else, or is damaged.
    """
    try:
        [held] = _followed(content, operations).state[4]
        return {_key(name): _array(_within(value)) for name, value in held.items()}
    # what damaged content makes of these steps: missing parts, parts of other types
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"its pickle is damaged ({error}). Copy the file again.") from None


def _followed(content: bytes, operations: Iterator[int]) -> Made:
    """Return what a pickle describes."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for operation, argument, _ in pickletools.genops(content):
        given: Any = argument
        if next(operations, None) is None:
            raise _refused("more operations than the pickles of a model have")
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
    return _require_array(whole)


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
        raise _refused(f"the operation {name}")


def _popped(stack: list[Any], count: int) -> list[Any]:
    found = stack[-count:]
    if len(found) < count or any(each is MARK for each in found):
        raise _refused("an operation without what it works on")
    del stack[-count:]
    return found


def _since_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1
    while stack[at] is not MARK:  # from the end, so that everything is looked at once
        at -= 1
        if at < 0:
            raise _refused("an operation without what it works on")
    found = stack[at + 1 :]
    del stack[at:]
    return found


def _last(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        raise _refused(f"an operation on a {type(stack[-1]).__name__}")
    return stack[-1]


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise _refused("a name that is no text")
    return name


def _within(value: Any) -> Made:
    """Return the one array in a variable, whatever its Keras and its backend put around it."""
    found: dict[int, Made] = {}
    seen: set[int] = set()
    rest = [value]
    while rest:
        each = rest.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Made):
            if each.is_array:
                found[id(each)] = each
            else:
                rest += [each.by, each.given, each.state]
        elif isinstance(each, dict):
            rest += each.values()
        elif isinstance(each, list | tuple):
            rest += each
    if len(found) != 1:
        raise _refused(f"a variable of {len(found)} arrays, expected one as TensorFlow's has")
    return next(iter(found.values()))


def _require_array(made: Any) -> Made:
    if not isinstance(made, Made) or not made.is_array:
        raise _refused(f"a {type(made).__name__} where an array is expected")
    return made


def _array(made: Made) -> NDArray[Any]:
    """Return an array from its shape, its type and its bytes, which must be all there."""
    _, shape, kept, fortran, content = made.state
    [code, *_], order = kept.given, kept.state[1]
    sizes = all(type(size) is int and 0 <= size <= MAX_AXIS for size in shape)
    if not sizes or not isinstance(content, bytes) or not isinstance(code, str) or len(code) > 3:
        raise _refused("an array without its shape, its type or its bytes")
    dtype = np.dtype(code).newbyteorder(order)
    if kept.by != Named("numpy", "dtype") or dtype.kind not in KINDS:
        raise _refused(f"an array of {quote(code)}")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise _refused(f"an array of shape {shape} in {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _refused(what: str) -> InputError:
    return InputError(f"its pickle holds {what}. Refused: nothing that it says is run.")
