"""The index of a packed directory, described once, and the check that it is one."""

import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from grulight.data.readers.messages import bad
from grulight.data.readers.names import name_array
from grulight.data.readers.npy import regular_file

INDEX = "index.json"
FORMAT = "grulight packed sequences"
VERSION = 1
AGAIN = "Pack the source again."
_LARGEST_INDEX = 1 << 26  # bytes


class Shard(NamedTuple):
    """How much a shard holds."""

    sequences: int
    steps: int


class Index(NamedTuple):
    """What ``index.json`` says; ``class_names`` is empty where labels are values or missing."""

    sequences: int
    steps: int
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: bool
    shards: tuple[Shard, ...]
    missing: bool = False  # whether values are, which are NaN then


def shard_name(number: int) -> str:
    """Return what the shard of this number is called, without its suffix."""
    return f"values-{number:05d}"


def read_index(path: str) -> Index:
    """Read what a directory says it holds.

    Raises:
        InputError: It is damaged, of another version, or lacks something.
    """
    file = os.path.join(path, INDEX)
    index = _parsed(file)
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise bad(file, "was not written by `grulight pack`. Is it of LitData? Write litdata:PATH.")
    if index.get("version") != VERSION:
        raise bad(
            file,
            f"has version {str(index.get('version'))[:40]} of the format, expected {VERSION}. Pack "
            "the source again, or use the version of grulight that packed it.",
        )
    for key, (right, expected) in _ENTRIES.items():
        if not right(index.get(key)):
            raise bad(file, f"lacks a right {key!r}, expected {expected}. {AGAIN}")
    shards = tuple(Shard(each["sequences"], each["steps"]) for each in index["shards"])
    if sum(shard.sequences for shard in shards) != index["sequences"]:
        raise bad(file, f"lacks some of its {index['sequences']} sequences in 'shards'. {AGAIN}")
    names = tuple(index["feature_names"]), tuple(index["class_names"] or ())
    for key, each in zip(("feature_names", "class_names"), names, strict=True):
        name_array(file, key, each)
    sizes, missing = (index["sequences"], index["steps"]), bool(index.get("missing"))
    return Index(*sizes, *names, index["labels"], shards, missing)


def _parsed(file: str) -> Any:
    try:
        with regular_file(file) as stream:
            text = stream.read(_LARGEST_INDEX + 1)
        if len(text) > _LARGEST_INDEX:
            raise ValueError(f"more than {_LARGEST_INDEX} bytes")
        return json.loads(text.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise bad(file, f"is damaged or cut short ({said}). {AGAIN}") from error


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value < 2**62


def _are_names(value: object) -> bool:
    if not isinstance(value, list) or not value or not all(type(name) is str for name in value):
        return False
    return len(set(value)) == len(value)


def _are_shards(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) for each in value)
        and all(_is_count(each.get(key)) for each in value for key in Shard._fields)
    )


_ENTRIES: dict[str, tuple[Callable[[object], bool], str]] = {
    "sequences": (_is_count, "a whole number above zero"),
    "steps": (_is_count, "a whole number above zero"),
    "feature_names": (_are_names, "distinct texts"),
    "class_names": (lambda value: value is None or _are_names(value), "distinct texts or null"),
    "labels": (lambda value: type(value) is bool, "true or false"),
    # older directories say nothing of it
    "missing": (lambda value: value is None or type(value) is bool, "true or false"),
    "shards": (_are_shards, "for each its 'sequences' and 'steps'"),
}
