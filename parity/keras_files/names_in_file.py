"""What a file itself says by name, read without the port: a witness against our own reading."""

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from parity.question import Array, Arrays

# Arrays that every Keras keeps alike, so that their names alone tell which one is which; kernels
# are laid out by backend and by kind of layer.
ALIKE = ("gamma", "beta", "moving_mean", "moving_variance", "embeddings")
# What Keras 1 calls each gate's part of an array, and in which order current Keras has the gates.
PARTS, GATES = {"kernel": "W", "recurrent_kernel": "U", "bias": "b"}, ("zrh", "ifco")


def named_arrays(path: Path, like: Arrays) -> Arrays:
    """Return those arrays that a file names as we do, as they are there.

    HDF5 files of whole layers do, and TensorFlow.js' folders.

    Args:
        path: The file, which the reader has looked at before.
        like: Our reading.
    """
    found: Arrays = {}
    if (model := tensorflow_js(path)) is not None:
        held = dict(_of_manifest(model[0], model[1]["weightsManifest"]))
        named = {name: held[name] for name in like if name in held}
        return {
            name: array
            for name, array in named.items()
            if name.rpartition("/")[2] in ALIKE and array.shape == like[name].shape
        }
    if not h5py.is_hdf5(path):
        return found
    with h5py.File(path, "r") as file:
        groups = file.get("model_weights", file)
        for name, ours in like.items():
            layer, kind = name.partition("/")[0], name.rpartition("/")[2]
            held = _names_of(groups, layer)
            arrays = _of(held, kind) if kind in ALIKE else _of_gates(held, PARTS.get(kind))
            if arrays := [array for array in arrays if array.shape == ours.shape]:
                same = [array for array in arrays if np.array_equal(array, ours)]
                found[name] = (same or arrays)[0]
    return found


def tensorflow_js(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return folder and `model.json` of a model of TensorFlow.js, which has been read before."""
    path = path / "model.json" if path.is_dir() else path
    model = _json(path)
    return (path.parent, model) if "weightsManifest" in model else None


def shards_of(path: Path) -> list[str]:
    """Return the shards that a JSON file of Keras 3 names; none for any other file."""
    places = _json(path).get("weight_map", {})
    listed = (held if isinstance(held, list) else [held] for held in places.values())
    return sorted({shard for held in listed for shard in held})


def _json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds, nothing for other files; the reader has looked at it."""
    with path.open("rb") if path.is_file() else io.BytesIO() as file:
        if not file.read(8).lstrip().startswith(b"{"):
            return {}
        file.seek(0)
        found: dict[str, Any] = json.load(file)
        return found


def _of_manifest(folder: Path, manifest: list[Any]) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of a TensorFlow.js model that are kept as they are."""
    for group in manifest:
        content = b"".join((folder / path).read_bytes() for path in group["paths"])
        for entry in group["weights"]:
            kept = np.dtype(entry.get("quantization", entry)["dtype"]).newbyteorder("<")
            count = math.prod(entry["shape"])
            if "quantization" not in entry and entry.get("group") != "optimizer":
                flat = np.frombuffer(content, kept, count)
                yield entry["name"], flat.reshape(entry["shape"])
            content = content[count * kept.itemsize :]


def _names_of(groups: h5py.Group, layer: str) -> dict[str, h5py.Dataset]:
    """Return a layer's arrays by name."""
    group = groups.get(layer)
    if group is None or "weight_names" not in group.attrs:
        return {}
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs["weight_names"]]
    return {name: group[name] for name in names}


def _of(held: Mapping[str, h5py.Dataset], kind: str) -> list[np.ndarray]:
    """Return the arrays whose names end so."""
    return [array[()] for name, array in held.items() if _last(name) == kind]


def _of_gates(held: Mapping[str, h5py.Dataset], part: str | None) -> list[np.ndarray]:
    """Return Keras 1's arrays of the gates side by side, where each gate has one."""
    by_gate = {_last(name)[-1:]: each[()] for name, each in held.items() if f"_{part}_" in name}
    found = [gates for gates in GATES if set(gates) == by_gate.keys()]
    return [np.concatenate([by_gate[gate] for gate in gates], -1) for gates in found]


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def said_version(path: Path) -> str | None:
    """Return which Keras a file says wrote it, if it says so."""
    if (model := tensorflow_js(path)) is not None:
        topology = model[1].get("modelTopology") or {}
        text = topology.get("keras_version")
    elif h5py.is_hdf5(path):
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
