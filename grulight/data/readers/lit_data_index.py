"""What a LitData set may say of itself, checked before LitData believes it.

LitData unpickles where the index names the format ``pickle``, imports the module that a form with a
``defaultdict`` names, opens, and for some sets deletes, whatever file a chunk's name leads to, and
waits two minutes for a chunk that is missing or short.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from grulight.data.readers.messages import bad

_INDEX = "index.json"
_MOST_BYTES = 1 << 24  # of an index; one of 100,000 chunks takes 9 MB
_MOST_FIELDS = 1000
_MOST_DEPTH = 8
# not "name:anything": LitData takes what follows a colon for the format where it knows it as one
_PLAIN = re.compile(r"numpy|tensor|str|bool|int|float|no_header_(numpy|tensor):[0-9]{1,2}")
_MAPPINGS = ("builtins.dict", "collections.OrderedDict")
_LISTS = ("builtins.list", "builtins.tuple")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


def check_set(source: str, folder: Path) -> None:
    """Check that a set in a local directory holds plain numbers and texts, and all of them.

    Raises:
        InputError: The index, or what it says of formats and chunks, is not what can be read; or a
            chunk is not as the index says.
    """
    index = _index(source, folder / _INDEX)
    config, chunks = index.get("config"), index.get("chunks")
    if not isinstance(config, dict) or not isinstance(chunks, list) or not chunks:
        raise bad(source, f"its {_INDEX} has no 'config' or no 'chunks', expected a LitData set.")
    try:
        fields = _fields(config)
        names = [_check_chunk(folder, chunk, fields) for chunk in chunks]
        if len(set(names)) < len(names):
            raise ValueError("names a chunk twice.")
    except (ValueError, TypeError, KeyError, RecursionError, OSError) as error:
        raise bad(source, f"its {_INDEX} {_said(error)}") from error


def _said(error: Exception) -> str:
    if type(error) is ValueError:
        return str(error)
    return f"cannot be followed ({type(error).__name__}: {str(error)[:200]})."


def _index(source: str, path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise bad(source, f"does not exist or has no {_INDEX}.")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise bad(source, f"its {_INDEX} cannot be read ({error.strerror}).") from error
    if len(content) > _MOST_BYTES:
        raise bad(source, f"its {_INDEX} has more than {_MOST_BYTES:,} bytes.")
    try:
        index = json.loads(content.decode())  # bytes could be UTF-16, which LitData does not read
    except (ValueError, RecursionError) as error:
        raise bad(source, f"its {_INDEX} is damaged ({str(error)[:200]}).") from error
    return index if isinstance(index, dict) else {}


def _fields(config: dict[str, Any]) -> int:
    """Return how many fields a sample has.

    Raises:
        ValueError: A setting asks for more than reading plain numbers and texts.
    """
    for key in ("compression", "encryption", "format"):
        if config.get(key) is not None:
            raise ValueError(
                f"says {key} {_short(config[key])}, which is not read here. Write the set again "
                "without."
            )
    if config.get("item_loader", "PyTreeLoader") != "PyTreeLoader":
        raise ValueError(
            f"says item_loader {_short(config['item_loader'])}, expected samples of several fields "
            "(PyTreeLoader)."
        )
    protocol, form = json.loads(config["data_spec"])
    fields, formats = _leaves(form), config["data_format"]
    if protocol != 1 or not 0 < len(fields) == len(formats) <= _MOST_FIELDS:
        raise ValueError(f"gives {len(formats)} formats for {len(fields)} fields of a sample.")
    for field, stored in zip(fields, formats, strict=True):
        if not isinstance(stored, str) or not _PLAIN.fullmatch(stored):
            raise ValueError(
                f"says that {_short(field)} is stored as {_short(stored)}, which may run code or "
                "is no number or text. Expected numpy, tensor, str, bool, int or float."
            )
    return len(fields)


def _leaves(form: Any, name: str = "a sample", depth: int = 0) -> list[str]:
    """Return what the fields of a sample are called, in the order they are stored in.

    Raises:
        ValueError: The form is not one of mappings, lists and fields.
    """
    kind, context, parts = form["type"], form["context"], form["children_spec"]
    if kind is None and context is None and not parts:
        return [name]
    names: list[Any] = [f"{name}[{i}]" for i in range(len(parts))]
    if kind in _MAPPINGS:
        names = json.loads(context)
    elif kind not in _LISTS:
        raise ValueError(f"gives {_short(name)} the form {_short(kind)}, expected a dict or list.")
    if len(names) != len(parts) or not all(isinstance(each, str) for each in names):
        raise ValueError(f"gives {_short(name)} {len(parts)} parts and {len(names)} names.")
    if depth == _MOST_DEPTH:
        raise ValueError(f"nests a sample more than {_MOST_DEPTH} deep.")
    return [
        leaf
        for part, called in zip(parts, names, strict=True)
        for leaf in _leaves(part, called, depth + 1)
    ]


def _check_chunk(folder: Path, chunk: dict[str, Any], fields: int) -> str:
    """Return the name of a chunk whose file holds its samples and nothing else.

    Raises:
        ValueError: It is missing, cut off, or its offsets do not fit; or has no plain file name.
        OSError: It cannot be read.
    """
    name, size, count = chunk["filename"], chunk["chunk_bytes"], chunk["chunk_size"]
    if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
        raise ValueError(f"names a chunk {_short(name)}, expected a plain file name.")
    path = folder / name
    if not path.is_file():
        raise ValueError(f"names the chunk {name}, which is missing.")
    found = path.stat().st_size
    if type(size) is not int or found != size:
        raise ValueError(
            f"says that chunk {name} has {_short(size)} bytes, it has {found}: it is cut off or "
            "another one. Copy the set again."
        )
    head = 4 * (2 + count) if type(count) is int and 0 < count < found else 0
    if not head or head + 4 * fields * count > found:
        raise ValueError(f"says that chunk {name} holds {_short(count)} samples, it cannot.")
    data = np.memmap(path, np.uint8, "r")
    numbers = data[:head].view(np.uint32).astype(np.int64)
    starts, sizes = numbers[1:-1], np.diff(numbers[1:])
    if numbers[0] != count or numbers[1] != head or numbers[-1] != size or sizes.min() < 4 * fields:
        raise ValueError(f"names the chunk {name}, whose offsets are damaged. Copy the set again.")
    sizes -= 4 * fields
    for field in range(fields):
        places = starts[:, None] + np.arange(4 * field, 4 * field + 4)
        sizes -= data[places].view(np.uint32)[:, 0]
    if sizes.any():
        at = int(np.flatnonzero(sizes)[0])
        raise ValueError(f"names the chunk {name}, whose sample {at} is damaged.")
    return name


def _short(value: object) -> str:
    # a list or a mapping may be as large as the file
    plain = value is None or isinstance(value, (bool, int, float))
    return repr(value)[:60] if plain else repr(value[:60]) if isinstance(value, str) else "a list"
