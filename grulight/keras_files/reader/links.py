"""The members of an HDF5 group: hard links alone, by name, however the file keeps them.

Layout: HDF5 file format specification, III.A (trees of names), III.D (their heap), IV.A.2.g.
"""

from collections.abc import Iterator

from grulight.errors import InputError
from grulight.keras_files.reader.headers import (
    LINK,
    LINK_INFO,
    SYMBOLS,
    Headers,
    Messages,
    damaged,
    number,
)
from grulight.keras_files.reader.heaps import LINK_RECORDS, heap_objects
from grulight.keras_files.reader.untrusted_text import quote

MAX_OBJECTS = 100_000
MAX_NAME = 64 << 10


def members(headers: Headers, address: int, path: str = "") -> dict[str, int]:
    """Return the addresses of the objects in a group by name, all of which must be hard links."""
    found: dict[str, int] = {}
    messages = headers.messages(address)
    if not any(kind in (SYMBOLS, LINK, LINK_INFO) for kind, _ in messages):
        raise InputError(f"{quote(path)} is neither a group nor an array. Refused.")
    for name, at, kind in _links(headers, messages):
        if kind != "HardLink":
            raise InputError(
                f"{quote(f'{path}/{name}' if path else name)} is a {kind}. Refused: it may point "
                "outside the file, and Keras writes none."
            )
        if name in found or len(found) >= MAX_OBJECTS:
            raise InputError(f"group {quote(path)} has {quote(name)} twice, or too many members.")
        found[name] = at
    return found


def _links(headers: Headers, messages: Messages) -> Iterator[tuple[str, int, str]]:
    """Yield name, address and kind of every link of a group."""
    for kind, body in messages:
        if kind == SYMBOLS:
            yield from _symbols(headers, number(body[:8]), number(body[8:16]))
        elif kind == LINK:
            yield _link(headers, body)
        elif kind == LINK_INFO:
            at = 2 + 8 * (body[1] & 1) if len(body) > 1 else 0
            for held in heap_objects(headers, body[at : at + 16], LINK_RECORDS):
                yield _link(headers, held)


def _symbols(headers: Headers, tree: int, heap: int) -> Iterator[tuple[str, int, str]]:
    """Yield the links that a tree of names leads to."""
    if headers.slice(heap, 32)[:4] != b"HEAP":
        raise damaged("names without a heap")
    size, names = headers.integer(heap + 8, 8), headers.integer(heap + 24, 8)
    seen: set[int] = set()
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if node in seen or len(seen) > MAX_OBJECTS:
            raise damaged("a tree of names leads back to itself")
        seen.add(node)
        head = headers.slice(node, 8)
        count = number(head[6:8])
        if head[:4] == b"TREE" and head[4] == 0:
            children = headers.slice(node + 24, 16 * count + 8)
            nodes += [number(children[16 * i + 8 : 16 * i + 16]) for i in range(count)]
        elif head[:4] == b"SNOD":
            entries = headers.slice(node + 8, 40 * count)
            for at in range(0, 40 * count, 40):
                name = _name(headers, names, size, number(entries[at : at + 8]))
                kind = number(entries[at + 16 : at + 20])
                address = number(entries[at + 8 : at + 16])
                yield name, address, "SoftLink" if kind == 2 else "HardLink"
        else:
            raise damaged("a tree of names without names")


def _name(headers: Headers, names: int, size: int, offset: int) -> str:
    if offset >= size:
        raise damaged("a name outside its heap")
    start = names + offset
    end = headers.content.find(b"\0", start, start + min(size - offset, MAX_NAME))
    if end < 0:
        raise damaged("a name without an end")
    return headers.text(headers.slice(start, end - start))


def _link(headers: Headers, body: bytes) -> tuple[str, int, str]:
    """Return name, address and kind of a link that is kept in its group's header."""
    flags = body[1] if len(body) > 1 else 0
    at = 2
    kind = body[at] if flags & 8 and len(body) > at else 0
    at += bool(flags & 8) + 8 * bool(flags & 4) + bool(flags & 16)
    width = 1 << (flags & 3)
    length = number(body[at : at + width])
    name = body[at + width : at + width + length]
    target = body[at + width + length :][:8]
    if body[:1] != b"\1" or len(name) < length or (kind == 0 and len(target) < 8):
        raise damaged("a link is cut off")
    words = {0: "HardLink", 1: "SoftLink", 64: "ExternalLink"}
    return headers.text(name), number(target), words.get(kind, "user's link")
