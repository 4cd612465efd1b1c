"""The arrays in a pickle of NumPy's, taken from where its arrays keep their bytes.

Keras keeps a dictionary of its variables as one object in `model.weights.npz`, which NumPy
pickles. Layout: `ndarray.__reduce__` of NumPy (numpy/_core/src/multiarray/methods.c).
"""

import math
import struct
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.keras_files.reader.pickle_as_data import Made, Named, followed, refused
from grulight.keras_files.reader.untrusted_text import quote

MAX_AXIS = (1 << 31) - 1
KINDS = "biuf"  # of NumPy's types: numbers


def pickled_arrays(file: IO[bytes], operations: Iterator[int]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a pickle of NumPy's that holds one dictionary of arrays or variables.

    Args:
        file: Where the pickle begins.
        operations: Yields as often as operations may still be followed.

    Raises:
        InputError: It holds anything else, or is damaged.
    """
    try:
        [held] = followed(file, operations).state[4]
        return {_key(name): _array(_within(value)) for name, value in held.items()}
    # what damaged content makes of these steps: missing parts, parts of other types
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"its pickle is damaged ({error}). Copy the file again.") from None


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise refused("a name that is no text")
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
        raise refused(f"a variable of {len(found)} arrays, expected one as TensorFlow's has")
    return next(iter(found.values()))


def _array(made: Made) -> NDArray[Any]:
    """Return an array from its shape, its type and its bytes, which must be all there."""
    shape: tuple[int, ...]
    if made.by.name == "scalar":  # a variable without axes
        (kept, content), shape, fortran = made.given, (), False
    else:
        _, shape, kept, fortran, content = made.state
    [code, *_], order = kept.given, kept.state[1]
    sizes = all(type(size) is int and 0 <= size <= MAX_AXIS for size in shape)
    if not sizes or not isinstance(content, bytes) or not isinstance(code, str) or len(code) > 3:
        raise refused("an array without its shape, its type or its bytes")
    dtype = np.dtype(code).newbyteorder(order)
    if kept.by != Named("numpy", "dtype") or dtype.kind not in KINDS:
        raise refused(f"an array of {quote(code)}")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise refused(f"an array of shape {shape} in {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
