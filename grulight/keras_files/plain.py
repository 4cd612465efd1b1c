"""Text and JSON from a file nobody vouches for: bounded, checked, and quoted on one line."""

import json
from collections import Counter
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


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that it does not open into a refusal."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}). Check the path "
            "and its permissions."
        ) from error


def quote(name: object) -> str:
    """Return a name from a file in quotes, shortened: it may be anything."""
    text = str(name)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def parse_json(text: bytes, name: str) -> dict[str, Json]:
    """Parse one JSON object of bounded length and depth.

    Raises:
        InputError: The text is too long, too deep, not JSON, not an object, or names one key twice.
    """
    if len(text) > MAX_JSON_BYTES:
        raise InputError(
            f"{name} is {len(text)} bytes long, expected at most {MAX_JSON_BYTES}. "
            "Refused: no Keras model needs that."
        )
    try:
        parsed = json.loads(text.decode("utf-8"), object_pairs_hook=_each_once)
    except RecursionError:
        raise _too_deep(name) from None
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except ValueError as error:  # also what a wrong encoding and an over-long number raise
        raise InputError(f"{name} is not valid JSON ({error}). Save the model again.") from None
    if not isinstance(parsed, dict):
        raise InputError(f"{name} holds a {type(parsed).__name__}, expected an object.")
    _check_depth(parsed, name)
    return parsed


def _each_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise InputError(
            f"{quote(twice)} is there twice. Refused: readers would disagree on which one counts."
        )
    return found


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
