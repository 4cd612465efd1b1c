"""TensorFlow.js' folders, Keras' shards and `.npz` weights, written byte by byte."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import kerasbytes as kb
import numpy as np
from numpy.typing import NDArray

Files = dict[str, bytes]
Weights = Mapping[str, NDArray[Any]]


def small_weights() -> dict[str, NDArray[Any]]:
    """Return the arrays of the small model under the names of Keras 2."""
    _, weights = kb.small_model()
    return {n.removesuffix(":0"): a for listed in weights.values() for n, a in listed}


def tensorflow_js(
    topology: Any, weights: Weights, kept: str | None = None, shard: int = 100, groups: int = 1
) -> Files:
    """Return a folder as the converter writes it.

    Args:
        topology: `modelTopology`.
        weights: The arrays by name.
        kept: What float32 arrays are rounded to, if they are.
        shard: The most bytes of a shard.
        groups: How many groups the weights are in.
    """
    files: Files = {}
    manifest = []
    names = list(weights)
    for at in range(groups):
        entries, content = [], b""
        for name in names[at::groups]:
            entry, array = _kept(name, weights[name], kept)
            entries.append(entry)
            content += array.tobytes()
        pieces = [content[i : i + shard] for i in range(0, len(content), shard)]
        paths = [f"group{at + 1}-shard{n + 1}of{len(pieces)}.bin" for n in range(len(pieces))]
        files |= dict(zip(paths, pieces, strict=True))
        manifest.append({"paths": paths, "weights": entries})
    model = {"format": "layers-model", "modelTopology": topology, "weightsManifest": manifest}
    return {"model.json": json.dumps(model).encode(), **files}


def _kept(name: str, array: NDArray[Any], kept: str | None) -> tuple[dict[str, Any], NDArray[Any]]:
    entry: dict[str, Any] = {"name": name, "shape": [*array.shape], "dtype": array.dtype.name}
    if kept is None or array.dtype != np.float32:
        return entry, array
    if kept == "float16":
        return entry | {"quantization": {"dtype": kept}}, array.astype("f2")
    least, scale = float(array.min()), float(np.ptp(array)) / np.iinfo(kept).max or 1.0
    raw = np.round((array.astype("f8") - least) / scale).astype(kept)
    return entry | {"quantization": {"dtype": kept, "scale": scale, "min": least}}, raw


def small_tensorflow_js(**settings: Any) -> Files:
    topology = {"keras_version": "2.2.4", "backend": "tensorflow", "model_config": small_config()}
    return tensorflow_js(topology, small_weights(), **settings)


def small_config() -> dict[str, Any]:
    return kb.small_model()[0]


def of_hdf5(path: Path, **settings: Any) -> Files:
    """Return what the converter makes of an `.h5` file: layers by the alphabet."""
    weights: dict[str, NDArray[Any]] = {}

    def listed(group: h5py.Group) -> Iterator[str]:
        names = group.attrs["weight_names"]
        return (n if isinstance(n, str) else n.decode() for n in names)

    with h5py.File(path) as file:
        topology = {"keras_version": file.attrs["keras_version"], "backend": "tensorflow"}
        topology["model_config"] = json.loads(file.attrs["model_config"])
        for layer in file["model_weights"].values():
            if "weight_names" in layer.attrs:
                weights |= {n.removesuffix(":0"): np.array(layer[n]) for n in listed(layer)}
    return tensorflow_js(topology, weights, **settings)


def npz(members: Mapping[str, Any]) -> bytes:
    """Return a `.npz` as Keras writes it: a dictionary of arrays for each group."""
    buffer = io.BytesIO()
    np.savez(buffer, **members)
    return buffer.getvalue()


def grouped(tree: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the arrays of a native tree by their group."""
    groups: dict[str, dict[str, NDArray[Any]]] = {"__root__": {}}
    for path, array in tree.items():
        group, _, name = path.partition("/vars/")
        groups.setdefault(group, {})[name] = array
    return groups


def keras_npz(content: bytes, config: Any = None) -> bytes:
    """Return a `.keras` zip with its weights in `.npz`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.0.5"}))
        archive.writestr("config.json", json.dumps(config or small_config()))
        archive.writestr("model.weights.npz", content)
    return buffer.getvalue()


def shards(tree: Mapping[str, NDArray[Any]], each: int = 2) -> Files:
    """Return weights in several HDF5 files, with so many arrays in each."""
    paths = list(tree)
    places: dict[str, list[str]] = {}
    files: Files = {}
    for at in range(0, len(paths), each):
        name = f"model_{at // each:05}.weights.h5"
        files[name] = kb.native_hdf5({path: tree[path] for path in paths[at : at + each]})
        for path in paths[at : at + each]:
            held = places.setdefault(f"/{path.rpartition('/')[0]}", [])
            held += [] if name in held else [name]
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    return {"model.weights.json": json.dumps(index).encode(), **files}


def written(folder: Path, files: Files) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def zipped(files: Files, top: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return buffer.getvalue()


def changed(files: Files, change: Any) -> Files:
    """Return the files after a change to what `model.json` or the index says."""
    name = next(name for name in files if name.endswith(".json"))
    model = json.loads(files[name])
    change(model)
    return {**files, name: json.dumps(model).encode()}


def unzipped(content: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
