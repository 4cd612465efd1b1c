"""What a file itself says by name, read without the port: a witness against our own reading."""

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np

from parity.question import Arrays

# Arrays that every Keras keeps alike, so that their names alone tell which one is which; kernels
# are laid out by backend and by kind of layer.
ALIKE = ("gamma", "beta", "moving_mean", "moving_variance", "embeddings")


def named_arrays(path: Path, like: Arrays) -> Arrays:
    """Return those arrays that an HDF5 file of whole layers names as we do, as they are there.

    Args:
        path: The file, which the reader has looked at before.
        like: Our reading.
    """
    found: Arrays = {}
    if not h5py.is_hdf5(path):
        return found
    with h5py.File(path, "r") as file:
        groups = file.get("model_weights", file)
        for name, ours in like.items():
            layer, kind = name.partition("/")[0], name.rpartition("/")[2]
            if kind in ALIKE and (arrays := _of(groups, layer, kind, ours.shape)):
                same = [array for array in arrays if np.array_equal(array, ours)]
                found[name] = (same or arrays)[0]
    return found


def _of(groups: h5py.Group, layer: str, kind: str, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return the arrays of a layer whose names end so."""
    group = groups.get(layer)
    if group is None or "weight_names" not in group.attrs:
        return []
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs["weight_names"]]
    chosen = [name for name in names if name.rpartition("/")[2].partition(":")[0] == kind]
    return [array for name in chosen if (array := group[name][()]).shape == shape]


def said_version(path: Path) -> str | None:
    """Return which Keras a file says wrote it, if it says so."""
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            held = file.get("model_weights", file)
            text = held.attrs.get("keras_version", file.attrs.get("keras_version"))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            known = "metadata.json" in archive.namelist()
            text = json.loads(archive.read("metadata.json")) if known else {}
            text = text.get("keras_version")
    else:
        return None
    text = text.decode() if isinstance(text, bytes) else text
    return str(text) if text else None


def said_major(path: Path) -> int | None:
    """Return which generation of Keras a file says wrote it, if it says so."""
    first = (said_version(path) or "").partition(".")[0]
    return int(first) if first.isdigit() else None
