"""Text and JSON from a file nobody vouches for: bounded, checked, and quoted on one line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grulight.errors import InputError

# Parsed JSON takes up to 30 bytes of memory per byte of text, so this bounds it near 120 MB.
# The largest configurations seen are a hundredth of it.
MAX_JSON_BYTES = 4 << 20
MAX_JSON_DEPTH = 100  # Keras nests about ten levels, and eight more per nested model

Json = Any  # what json.loads returns; everything read from it is checked where it is used


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name before every refusal."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error.__cause__


def quote(name: object) -> str:
    """Return a name from a file in quotes, shortened: it may be anything."""
    text = str(name)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def parse_json(text: bytes, name: str) -> dict[str, Json]:
    """Parse one JSON object of bounded length and depth.

    Raises:
        InputError: The text is too long, too deep, not JSON, or not an object.
    """
    if len(text) > MAX_JSON_BYTES:
        raise InputError(
            f"{name} is {len(text)} bytes long, expected at most {MAX_JSON_BYTES}. "
            "Refused: no Keras model needs that."
        )
    try:
        parsed = json.loads(text.decode("utf-8"))
    except RecursionError:
        raise _too_deep(name) from None
    except ValueError as error:  # also what a wrong encoding and an over-long number raise
        raise InputError(f"{name} is not valid JSON ({error}). Save the model again.") from None
    if not isinstance(parsed, dict):
        raise InputError(f"{name} holds a {type(parsed).__name__}, expected an object.")
    _check_depth(parsed, name)
    return parsed


def _check_depth(parsed: Json, name: str) -> None:
    level: list[Json] = [parsed]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise _too_deep(name)


def _too_deep(name: str) -> InputError:
    return InputError(
        f"{name} is nested deeper than {MAX_JSON_DEPTH} levels. Refused: no Keras model needs that."
    )
