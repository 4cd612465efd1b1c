"""Constant tensors among the arguments of calls and in settings, as each Keras writes them."""

from typing import Any, NamedTuple

import numpy as np

from grulight.errors import InputError
from grulight.keras_files.reader.untrusted_text import Json, quote

WRAPPED = ("__numpy__", "__tensor__")  # Keras 3: an array or tensor with its type
MOST_AXES = 16


class Constant(NamedTuple):
    """A tensor that the file holds among the arguments of a call: its shape, its numbers."""

    shape: tuple[int, ...]
    numbers: tuple[float | bool, ...]


def unwrapped(entry: Json) -> Json:
    """Return the lists, or the number, that an array is written as; all else as it is."""
    if isinstance(entry, dict) and entry.get("type") == "ndarray":
        return entry.get("value")  # Keras 2
    if isinstance(entry, dict) and entry.get("class_name") in WRAPPED:
        config = entry.get("config")
        return config.get("value") if isinstance(config, dict) else None
    return entry


def as_array(entry: Json) -> Any:
    """Return an array for what is written as one, whose type Keras minds; all else as it is."""
    held = unwrapped(entry)
    return held if held is entry else np.array(held, np.float64)


def is_constant(entry: Json) -> bool:
    """Return whether an argument is an array of Keras 3's, or nested lists of numbers alone."""
    if isinstance(entry, dict):
        return entry.get("class_name") in WRAPPED
    if not isinstance(entry, list) or not entry:
        return False
    stack = [*entry]
    while stack:
        each = stack.pop()
        if isinstance(each, list):
            stack += each
        elif not isinstance(each, (bool, int, float)):
            return False
    return True


def constant(name: str, entry: Json) -> Constant | float | bool:
    """Read a constant of the layer of this name; one without axes is a number.

    Raises:
        InputError: Its rows differ in length, or it holds what is no number.
    """
    entry = unwrapped(entry)
    shape: list[int] = []
    level = [entry]
    while level and all(isinstance(each, list) for each in level) and len(shape) < MOST_AXES:
        sizes = {len(each) for each in level}
        if len(sizes) > 1:
            break
        shape += sizes
        level = [each for row in level for each in row]
    if not level or not all(_is_number(each) for each in level):
        raise InputError(
            f"layer {quote(name)} holds a constant tensor that cannot be read: {quote(entry)}. "
            "Expected nested lists of numbers, those of one depth of one length."
        )
    return Constant(tuple(shape), tuple(level)) if shape else level[0]


def _is_number(value: Json) -> bool:
    return isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 1 << 63)
