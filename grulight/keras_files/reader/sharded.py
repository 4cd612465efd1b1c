"""Weights of Keras 3 in several HDF5 files, and the JSON that says which group lies in which.

`model.save_weights("model.weights.json", max_shard_size=...)` writes them (keras/src/saving/
saving_lib.py, ShardedH5IOStore).
"""

from grulight.errors import InputError
from grulight.keras_files.reader.attributes import Attributes
from grulight.keras_files.reader.folders import Folder, inner
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.headers import Headers
from grulight.keras_files.reader.links import members
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.reader.weight_groups import NativeWeights, native_names, native_weights

MAP = "weight_map"
MAX_SHARDS = 10_000
ROOT = "layers"


def is_sharded(index: dict[str, Json]) -> bool:
    """Return whether JSON says where weights lie."""
    return MAP in index


def read_shards(index: dict[str, Json], folder: Folder) -> tuple[NativeWeights, tuple[str, ...]]:
    """Return the arrays of all shards, not read yet, and what else is there, in words.

    Args:
        index: What the JSON file holds.
        folder: Where the shards lie.

    Raises:
        InputError: A shard is missing, damaged or refused, or holds other arrays than the index
            says.
    """
    places = _places(index[MAP])
    arrays: dict[str, Stored] = {}
    names: dict[str, str] = {}
    for shard in sorted({shard for held in places.values() for shard in held}):
        headers = Headers(folder.read(shard))
        tops = {name: at for name, at in members(headers, headers.root).items() if name == ROOT}
        found = native_weights(headers, Attributes(headers), tops)
        names |= found.names
        for path, stored in found.arrays.items():
            group = f"/{ROOT}/{path.rpartition('/')[0]}"
            if path in arrays or shard not in places.get(group, ()):
                raise InputError(
                    f"{quote(shard)} holds {quote(path)}, which {MAP} does not say, or which "
                    "another shard holds. Copy the files of one model together."
                )
            arrays[path] = stored
    for group in places:
        path = group.removeprefix(f"/{ROOT}/")
        if path != group and not any(each.startswith(f"{path}/") for each in arrays):
            raise InputError(f"{MAP} lists {quote(group)}, which no shard holds. Copy it again.")
    state = any(group.startswith("/optimizer") for group in places)
    return native_names(arrays, names), ("optimizer state",) if state else ()


def _places(places: Json) -> dict[str, tuple[str, ...]]:
    """Return the shards of every group."""
    if not isinstance(places, dict) or not places:
        raise InputError(f"{MAP} lists no weights. Expected what Keras writes.")
    found: dict[str, tuple[str, ...]] = {}
    for group, held in places.items():
        listed = held if isinstance(held, list) else [held]
        if not listed or not all(isinstance(each, str) for each in listed):
            raise InputError(f"{MAP} has {quote(held)} for {quote(group)}, expected shards.")
        found[group] = tuple(map(inner, listed))
    if len({shard for shards in found.values() for shard in shards}) > MAX_SHARDS:
        raise InputError(f"{MAP} names more than {MAX_SHARDS} shards. Refused.")
    return found
