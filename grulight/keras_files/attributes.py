"""Texts and lists of names in the attributes of HDF5 groups, of bounded length.

Layout: HDF5 file format specification, IV.A.2.m (attributes), III.E (heaps of texts). Only what
h5py writes for Keras is read: text of fixed or variable length, alone or in a list.
"""

from collections.abc import Iterator
from typing import NamedTuple

from grulight.errors import InputError
from grulight.keras_files.headers import (
    ATTRIBUTE,
    ATTRIBUTE_INFO,
    OVERHEAD,
    Headers,
    damaged,
    number,
)
from grulight.keras_files.heaps import ATTRIBUTE_RECORDS, heap_objects
from grulight.keras_files.plain import quote

MAX_NAMES = 100_000
MAX_SHORT = 64 << 10  # bytes of a text that is a name or a word
FIXED, VARIABLE = 3, 9  # classes of types


class Attribute(NamedTuple):
    """An attribute whose texts have not been looked up."""

    length: int | None  # of texts in the list, None for a single text
    kind: int  # class of the type
    size: int  # bytes of one element
    data: bytes


class Attributes:
    """The attributes of a file's groups.

    Args:
        headers: The file.
    """

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        self._found: dict[int, dict[str, Attribute]] = {}

    def text(self, group: int, name: str, limit: int = MAX_SHORT) -> bytes | None:
        """Return one text of bounded length, or None where the group lacks it."""
        attribute = self._find(group).get(name)
        if attribute is None:
            return None
        if attribute.length is not None:
            raise InputError(f"attribute {quote(name)} is a list, expected a single text.")
        [text] = self._texts(name, attribute)
        if len(text) > limit:
            raise InputError(
                f"attribute {quote(name)} has {len(text)} bytes, expected at most {limit}. Refused."
            )
        return text

    def names(self, group: int, name: str) -> list[str] | None:
        """Return a list of names, also where Keras split it into `name0`, `name1`, ..."""
        found = self._find(group)
        parts = [name] if name in found else []
        while not parts or parts[-1] != name:
            part = f"{name}{len(parts)}"
            if part not in found:
                break
            parts.append(part)
        if not parts:
            return None
        names: list[str] = []
        for part in parts:
            if found[part].length is None:
                raise InputError(f"attribute {quote(part)} is one text, expected a list of names.")
            names += map(self._headers.text, self._texts(part, found[part]))
        return names

    def _find(self, group: int) -> dict[str, Attribute]:
        if group not in self._found:
            found: dict[str, Attribute] = {}
            for body in self._bodies(group):
                raw, attribute = _attribute(body)
                self._headers.keep(len(attribute.data))
                name = self._headers.text(raw)
                if name in found:
                    raise InputError(
                        f"attribute {quote(name)} is there twice. Refused: readers would disagree "
                        "on which one counts."
                    )
                found[name] = attribute
            self._found[group] = found
        return self._found[group]

    def _bodies(self, group: int) -> Iterator[bytes]:
        for kind, body in self._headers.messages(group):
            if kind == ATTRIBUTE:
                yield body
            elif kind == ATTRIBUTE_INFO:
                at = 2 + 2 * (body[1] & 1) if len(body) > 1 else 0
                yield from heap_objects(self._headers, body[at : at + 16], ATTRIBUTE_RECORDS)

    def _texts(self, name: str, attribute: Attribute) -> Iterator[bytes]:
        count = 1 if attribute.length is None else attribute.length
        if count == 0:
            return  # whatever type an empty list was given
        if attribute.kind not in (FIXED, VARIABLE):
            raise InputError(f"attribute {quote(name)} holds no text. Expected what Keras writes.")
        if count > MAX_NAMES or count * attribute.size > len(attribute.data):
            raise damaged(f"attribute {quote(name)} claims {count} texts")
        for at in range(0, count * attribute.size, attribute.size):
            element = attribute.data[at : at + attribute.size]
            yield element.rstrip(b"\0") if attribute.kind == FIXED else self._variable(element)

    def _variable(self, element: bytes) -> bytes:
        """Return a text of variable length: its length, its heap's address, its number there."""
        length, address, index = number(element[:4]), number(element[4:12]), number(element[12:16])
        if length == 0:
            return b""
        if address not in self._heaps:
            self._heaps[address] = self._heap(address)
        at, size = self._heaps[address].get(index, (0, 0))
        if length > size:
            raise damaged("a text is not in its heap")
        return self._headers.slice(at, length).partition(b"\0")[0]

    def _heap(self, address: int) -> dict[int, tuple[int, int]]:
        """Return where the texts of a heap begin and how long they are, by their numbers."""
        head = self._headers.slice(address, 16)
        if head[:5] != b"GCOL\x01":
            raise damaged("a text lies outside the heaps")
        at, end = address + 16, address + number(head[8:16])
        self._headers.spend(end - address)
        held: dict[int, tuple[int, int]] = {}
        while at + 16 <= end:
            index, size = self._headers.integer(at, 2), self._headers.integer(at + 8, 8)
            if index == 0:  # the free space that ends a heap
                break
            self._headers.keep(OVERHEAD)
            held[index] = (at + 16, size)
            at += 16 + (size + 7) // 8 * 8
        return held


def _attribute(body: bytes) -> tuple[bytes, Attribute]:
    """Return the name of an attribute, and what its texts can be looked up from."""
    version = body[0] if len(body) >= 8 else 0
    if version not in (1, 2, 3) or (version > 1 and body[1]):
        raise damaged("an attribute of unknown layout")
    sizes = [number(body[at : at + 2]) for at in (2, 4, 6)]
    at = 9 if version == 3 else 8
    parts = []
    for size in sizes:
        parts.append(body[at : at + size])
        at += (size + 7) // 8 * 8 if version == 1 else size
    name, kind, space = parts
    if (
        len(kind) < 8
        or len(space) < 4
        or any(len(p) < s for p, s in zip(parts, sizes, strict=True))
    ):
        raise damaged("an attribute is cut off")
    return name, Attribute(_count(space), *_type(kind), body[at:])


def _type(kind: bytes) -> tuple[int, int]:
    """Return class and size of a type; what is no text gets a class that is neither."""
    class_, size = kind[0] & 15, number(kind[4:8])
    texts = class_ == FIXED or (class_ == VARIABLE and kind[1] & 15 == 1 and size == 16)
    return (class_ if texts else -1), max(size, 1)


def _count(space: bytes) -> int | None:
    """Return how many elements there are, None for a single one."""
    rank = space[1]
    if rank == 0:
        return None
    start = 8 if space[0] == 1 else 4
    return number(space[start : start + 8]) if rank == 1 else MAX_NAMES + 1
