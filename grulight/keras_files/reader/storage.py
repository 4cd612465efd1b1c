"""How an HDF5 array says what it holds and where.

Layout: HDF5 file format specification, IV.A.2.b (shapes), IV.A.2.d (types), IV.A.2.i (places),
IV.A.2.f (what was never written).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from grulight.keras_files.reader.chunks import Chunked, chunked
from grulight.keras_files.reader.filters import filters_of
from grulight.keras_files.reader.headers import (
    FILL,
    FILTERS,
    LAYOUT,
    SPACE,
    UNDEFINED,
    Headers,
    damaged,
    number,
)

INTEGER, FLOAT, ENUM = 0, 1, 8  # classes of types whose elements are numbers of fixed size
# Bit offset, precision, place and size of the exponent, of the mantissa, and the exponent's bias.
IEEE = {
    2: (0, 16, 10, 5, 0, 10, 15),
    4: (0, 32, 23, 8, 0, 23, 127),
    8: (0, 64, 52, 11, 0, 52, 1023),
}


def shape_of(body: bytes) -> tuple[int, ...] | None:
    """Return a shape, or None where there is none."""
    if len(body) < 4 or body[0] not in (1, 2):
        raise damaged("a shape of unknown layout")
    if body[0] == 2 and body[3] == 2:
        return None
    start, rank = (8 if body[0] == 1 else 4), body[1]
    if len(body) < start + 8 * rank:
        raise damaged("a shape is cut off")
    return tuple(number(body[start + 8 * i : start + 8 * i + 8]) for i in range(rank))


def limit_of(body: bytes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that an array may grow to."""
    at = (8 if body[0] == 1 else 4) + 8 * len(shape)
    if not body[2] & 1 or len(body) < at + 8 * len(shape):
        return shape
    return tuple(number(body[at + 8 * i : at + 8 * i + 8]) for i in range(len(shape)))


def dtype_of(body: bytes) -> tuple[np.dtype[Any] | None, int]:
    """Return NumPy's type, None for what is no float; and the size, 0 for what is no number."""
    if len(body) < 8:
        raise damaged("a type is cut off")
    kind, size = body[0] & 15, number(body[4:8])
    if kind != FLOAT:
        return None, size if kind in (INTEGER, ENUM) else 0
    parts = (*body[8:20],)
    if len(parts) < 12 or body[1] & 0x40:
        return None, size
    layout = (number(body[8:10]), number(body[10:12]), *body[12:16], number(body[16:20]))
    if layout != IEEE.get(size):
        return None, size
    return np.dtype(f"{'>' if body[1] & 1 else '<'}f{size}"), size


class Place(NamedTuple):
    """Where the bytes of an array are, one after the other."""

    content: bytes | bytearray
    start: int
    length: int


class Unwritten(NamedTuple):
    """Where an array was made and never written: nowhere."""


class Packed(Protocol):
    """Bytes that are no array yet, such as those of chunks."""

    @property
    def size(self) -> int:
        """How many bytes the array takes."""

    def fill(self, array: NDArray[Any]) -> None:
        """Write the numbers into an array of their shape."""


@dataclass(frozen=True)
class InMemory:
    """An array that was read whole.

    Attributes:
        array: It.
    """

    array: NDArray[Any] = field(repr=False)

    @property
    def size(self) -> int:
        """How many bytes the array takes."""
        return self.array.nbytes

    def fill(self, array: NDArray[Any]) -> None:
        """Write the numbers into an array of their shape."""
        array[...] = self.array


def place_of(
    headers: Headers, held: Mapping[int, bytes], shape: tuple[int, ...], size: int
) -> Place | Chunked | Unwritten | str:
    """Return where the bytes of an array are, or what is wrong.

    Args:
        headers: The file.
        held: The messages of the array's header by kind.
        shape: The array's shape.
        size: Bytes of an element.
    """
    body = held[LAYOUT]
    version, kind = body[:1], body[1:2]
    if version not in (b"\3", b"\4") or kind not in (b"\0", b"\1", b"\2", b"\3"):
        raise damaged("an array of unknown layout")
    if kind == b"\3":
        return "is virtual: its bytes lie in other arrays or files"
    if kind == b"\2":
        filters = filters_of(held[FILTERS]) if FILTERS in held else ()
        if isinstance(filters, str):
            return filters
        return chunked(headers, body, (shape, limit_of(held[SPACE], shape)), size, filters)
    if FILTERS in held:
        raise damaged("an array in one piece has filters")
    if kind == b"\0":
        return Place(body, 4, min(number(body[2:4]), len(body) - 4))
    start, length = number(body[2:10]), number(body[10:18])
    if start == UNDEFINED:
        return Unwritten()
    if start + length > len(headers.content):
        raise damaged("an array lies past the end of the file")
    return Place(headers.content, start, length)


def fill_value(held: Mapping[int, bytes], size: int) -> bytes:
    """Return what elements have that were never written: zero unless the file says otherwise."""
    body = held.get(FILL, b"")
    if body[:1] in (b"\1", b"\2"):
        there, at = body[:1] == b"\1" or body[3:4] == b"\1", 4
    else:
        there, at = len(body) > 1 and bool(body[1] & 0x20), 2
    value = body[at + 4 : at + 4 + size] if there else b""
    return value if len(value) == size == number(body[at : at + 4]) else bytes(size)
