"""Weights in NumPy's `.npz`, as Keras 3 writes them where h5py is missing.

Each member is a layer's group with its arrays in a dictionary, which NumPy pickles; Keras 3.15
does not open it any more. Files with one plain array a member, by the same paths, are read too.
"""

import io
import math
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.npy import any_header, array_size, named_errors
from grulight.errors import InputError
from grulight.keras_files.reader.archive import MAX_GROWTH, open_archive, read_member
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.pickle_as_data import MAX_OPERATIONS
from grulight.keras_files.reader.pickled_arrays import pickled_arrays
from grulight.keras_files.reader.storage import InMemory
from grulight.keras_files.reader.untrusted_text import quote
from grulight.keras_files.reader.weight_groups import NATIVE_ROOTS, NativeWeights, native_names

ENDING = ".npy"
MAX_DEPTH = 64


def is_npz(members: dict[str, zipfile.ZipInfo]) -> bool:
    """Return whether a zip holds arrays of NumPy and nothing else."""
    return bool(members) and all(name.endswith(ENDING) for name in members)


def read_npz(content: bytes) -> tuple[NativeWeights, tuple[str, ...]]:
    """Return the arrays of a `.npz` of weights, and what else it holds, in words.

    Raises:
        InputError: It is damaged, declares more than it holds, or holds other objects.
    """
    arrays: dict[str, Stored] = {}
    ignored: dict[str, None] = {}
    with open_archive(io.BytesIO(content)) as (archive, members):
        room, operations = len(content) + MAX_GROWTH, iter(range(MAX_OPERATIONS))
        for name, member in members.items():
            path = name.removesuffix(ENDING).replace("\\", "/")
            top, _, below = path.partition("/")
            if top not in NATIVE_ROOTS:
                if top not in ("__root__", "vars"):
                    state = top in ("optimizer", "optimizer_weights")
                    ignored["optimizer state" if state else f"root group {quote(top)}"] = None
                continue
            held = read_member(archive, member, room)
            room -= len(held)
            for at, array in _arrays(below, held, operations):
                if at in arrays:
                    raise InputError(f"two arrays are called {quote(at)}. Refused as ambiguous.")
                arrays[at] = _stored(at, array)
    if not arrays:
        raise InputError(
            "holds no weights of Keras' layers. Expected members such as layers/gru/cell.npy."
        )
    return native_names(arrays), tuple(ignored)


def _arrays(
    path: str, content: bytes, operations: Iterator[int]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield path and array of a member: of one array, or of a dictionary of some."""
    if path.count("/") > MAX_DEPTH or any(part in ("", ".", "..") for part in path.split("/")):
        raise InputError(f"path {quote(path)} has empty or dotted parts, or too many. Refused.")
    file = io.BytesIO(content)
    with named_errors("weights", f"key {quote(path)}"):
        shape, fortran, dtype = any_header(file)
        if not dtype.hasobject:
            at = file.tell()
            array_size(shape, dtype, len(content) - at)
            count = math.prod(shape)
            flat = np.frombuffer(content, dtype, count, at * (count > 0))
            yield path, flat.reshape(shape, order="F" if fortran else "C")
            return
    if shape != () or dtype != np.dtype(object):
        raise InputError(f"key {quote(path)} holds objects, expected one dictionary of arrays.")
    for name, array in pickled_arrays(file, operations).items():
        if "/" in name or name in ("", ".", ".."):
            raise InputError(f"key {quote(path)} has an array called {quote(name)}. Refused.")
        yield f"{path}/vars/{name}", array


def _stored(path: str, array: NDArray[Any]) -> Stored:
    known = array.dtype.kind == "f" and array.dtype.itemsize <= 8
    dtype = array.dtype if known else None
    return Stored(f"layers/{path}", array.shape, dtype, InMemory(array), bytes(array.itemsize))
