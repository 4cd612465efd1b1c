"""The arrays of a TensorFlow.js model: bytes one after the other, as its manifest lists them."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.keras_files.reader.folders import Folder, inner
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.storage import Place
from grulight.keras_files.reader.untrusted_text import Json, quote

BLOCK = 1 << 20  # numbers that are computed at once
MAX_SHARDS = 10_000
MAX_RANK = 8
MAX_AXIS = (1 << 31) - 1
MAX_NAME = 1024
TYPES = {
    **{"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint8": "u1", "uint16": "<u2"},
    **{"bool": "u1", "complex64": "<c8"},
}
QUANTISED = ("uint8", "uint16", "float16")
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Quantised:
    """Numbers that are kept as whole ones from 0 on: `raw * scale + min`, rounded to float32.

    Attributes:
        raw: Where the whole numbers are.
        type: What they are: `uint8` or `uint16`.
        scale: The step from one to the next.
        least: What 0 stands for.
        count: How many there are.
    """

    raw: Place = field(repr=False)
    type: str
    scale: float
    least: float
    count: int

    @property
    def size(self) -> int:
        """Bytes of the numbers as float32."""
        return 4 * self.count

    def fill(self, array: NDArray[Any]) -> None:
        """Write the numbers, computed in float64 as TensorFlow.js does."""
        if self.count == 0:
            return
        raw = np.frombuffer(self.raw.content, TYPES[self.type], self.count, self.raw.start)
        flat = array.reshape(-1)
        for at in range(0, self.count, BLOCK):  # float64 takes eight times a uint8
            flat[at : at + BLOCK] = raw[at : at + BLOCK] * self.scale + self.least


def arrays_of(manifest: Json, folder: Folder) -> tuple[dict[str, Stored], bool]:
    """Return the arrays of a `weightsManifest` by name, and whether optimiser state was left out.

    Raises:
        InputError: The manifest is damaged, names one array or shard twice, or describes other
            bytes than the shards hold.
    """
    groups = manifest if isinstance(manifest, list) else []
    if not groups or not all(isinstance(group, dict) for group in groups):
        raise InputError("weightsManifest lists no weights. Expected what TensorFlow.js writes.")
    _require_once(inner(_text(path, "path")) for group in groups for path in _list(group, "paths"))
    arrays: dict[str, Stored] = {}
    optimizer = False
    for group in groups:
        content = _joined(folder, _list(group, "paths"))
        at = 0
        for entry in _list(group, "weights"):
            stored, length = _stored(entry, content, at)
            at += length
            if entry.get("group") == "optimizer":
                optimizer = True
            elif stored.name in arrays:
                raise InputError(f"weightsManifest lists {quote(stored.name)} twice. Refused.")
            else:
                arrays[stored.name] = stored
        if at != len(content):
            raise InputError(
                f"the shards {_named(group)} hold {len(content)} bytes, expected {at} as "
                "weightsManifest describes. Copy or download the files again."
            )
    return arrays, optimizer


def quantised_words(arrays: Mapping[str, Stored]) -> Iterator[str]:
    """Yield what the file's numbers lost when it was written."""
    kinds = Counter(
        each.place.type if isinstance(each.place, Quantised) else "float16"
        for each in arrays.values()
        if isinstance(each.place, Quantised) or each.dtype == np.float16
    )
    for kind, count in sorted(kinds.items()):
        yield f"that {count} arrays were rounded to {kind} in the file: the port has what it keeps"


def _joined(folder: Folder, paths: list[Json]) -> bytearray:
    """Return the shards of a group as one; each is read when its turn comes."""
    sizes = [folder.size(path) for path in paths]
    content = bytearray()
    for path, size in zip(paths, sizes, strict=True):
        content += folder.read(path, size)
    if len(content) != sum(sizes):
        raise InputError("a shard changed while it was read. Try again.")
    return content


def _stored(entry: Json, content: bytearray, at: int) -> tuple[Stored, int]:
    """Return an array that begins at some byte, and how many bytes it takes."""
    if not isinstance(entry, dict):
        raise InputError("weightsManifest lists a weight that is no object. Refused.")
    name = _text(entry.get("name"), "name")
    shape = _shape(name, entry.get("shape"))
    kept, packed = entry.get("dtype"), entry.get("quantization")
    if packed is not None:
        kept = packed.get("dtype") if isinstance(packed, dict) else None
        if kept not in QUANTISED:
            raise _wrong(name, "is quantised as", kept, ", ".join(QUANTISED))
    if not isinstance(kept, str) or kept not in TYPES:
        raise _wrong(name, "has the type", kept, ", ".join(TYPES))
    count, dtype = math.prod(shape), np.dtype(TYPES[kept])
    length = count * dtype.itemsize
    if at + length > len(content):
        raise InputError(
            f"{quote(name)} takes {length} bytes from byte {at} on, and the shards hold "
            f"{len(content)}. Copy or download the files again."
        )
    place = Place(content, at, length)
    if packed is None or kept == "float16":
        return Stored(name, shape, dtype if dtype.kind == "f" else None, place, b""), length
    of_floats = np.dtype("<f4") if entry.get("dtype") == "float32" else None
    scale, least = (_finite(name, packed, key) for key in ("scale", "min"))
    if not abs(scale * np.iinfo(dtype).max) + abs(least) <= LARGEST:
        raise _wrong(name, "has the scale", scale, "numbers that float32 holds")
    quantised = Quantised(place, kept, scale, least, count)
    return Stored(name, shape, of_floats, quantised, bytes(4)), length


def _shape(name: str, shape: Json) -> tuple[int, ...]:
    whole = isinstance(shape, list) and len(shape) <= MAX_RANK
    if not whole or not all(type(size) is int and 0 <= size <= MAX_AXIS for size in shape):
        raise _wrong(name, "has the shape", shape, f"at most {MAX_RANK} sizes")
    return tuple(shape)


def _finite(name: str, packed: Mapping[str, Json], key: str) -> float:
    value = packed.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    raise _wrong(name, f"has the quantization {key}", value, "a finite number")


def _list(group: Mapping[str, Json], key: str) -> list[Json]:
    found = group.get(key)
    if not isinstance(found, list):
        raise InputError(f"weightsManifest has a group without its {key}. Refused.")
    return found


def _text(text: Json, what: str) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME:
        raise InputError(f"weightsManifest has the {what} {quote(text)}, expected a text.")
    return text


def _require_once(paths: Iterable[str]) -> None:
    for at, (path, times) in enumerate(Counter(paths).items()):
        if times > 1 or at >= MAX_SHARDS:
            raise InputError(f"weightsManifest names {quote(path)} twice, or too many shards.")


def _named(group: Mapping[str, Json]) -> str:
    paths = group["paths"]
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(quote, paths[:3])) + more


def _wrong(name: str, what: str, value: Json, expected: str) -> InputError:
    return InputError(f"{quote(name)} {what} {quote(value)}, expected {expected}. Refused.")
