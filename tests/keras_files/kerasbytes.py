"""Keras files written byte by byte with h5py and zipfile, as KERAS_FACTS section 4 has them."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Weights = Sequence[tuple[str, NDArray[np.floating]]]
Change = Callable[[h5py.File], object]

RNG = np.random.default_rng(7)


def gru_arrays(features: int, units: int, bias: str = "two rows") -> list[NDArray[np.float32]]:
    shapes: dict[str, list[tuple[int, ...]]] = {
        "none": [],
        "one row": [(3 * units,)],
        "two rows": [(2, 3 * units)],
        "flat": [(6 * units,)],
    }
    return arrays((features, 3 * units), (units, 3 * units), *shapes[bias])


def arrays(*shapes: tuple[int, ...]) -> list[NDArray[np.float32]]:
    return [RNG.normal(0, 0.5, shape).astype(np.float32) for shape in shapes]


def gru_config(**changes: object) -> dict[str, Any]:
    """Return a GRU's configuration with what every Keras since 2.2 writes."""
    base = {
        "name": "gru",
        "trainable": True,
        "units": 4,
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "implementation": 1,
        "reset_after": True,
        "return_sequences": False,
        "return_state": False,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
    }
    return base | changes


def layer(class_name: str, **config: object) -> dict[str, Any]:
    return {"class_name": class_name, "config": dict(config)}


def small_model() -> tuple[dict[str, Any], dict[str, Weights]]:
    """Return a Sequential of one GRU and one Dense in Keras 2's words, and its weights."""
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "sequential",
            "layers": [
                layer("GRU", **gru_config(batch_input_shape=[None, 7, 3])),
                layer("Dense", name="dense", units=2, activation="softmax", use_bias=True),
            ],
        },
    }
    names = ("kernel:0", "recurrent_kernel:0", "bias:0")
    weights: dict[str, Weights] = {
        "gru": list(zip((f"gru/{name}" for name in names), gru_arrays(3, 4), strict=True)),
        "dense": list(zip(("dense/kernel:0", "dense/bias:0"), arrays((4, 2), (2,)), strict=True)),
    }
    return config, weights


def hdf5(change: Change) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        change(file)
    return buffer.getvalue()


def legacy(
    config: Mapping[str, Any] | None,
    weights: Mapping[str, Weights],
    version: str | None = "2.2.4",
    change: Change = lambda file: None,
) -> bytes:
    """Return an `.h5` file as Keras 1 to 3 write it; without a config, of weights alone."""

    def write(file: h5py.File) -> None:
        group = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
            group = file.create_group("model_weights")
        if version is not None:
            group.attrs["keras_version"] = version.encode()
            group.attrs["backend"] = b"tensorflow"
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, listed in weights.items():
            held = group.create_group(name)
            held.attrs["weight_names"] = [weight.encode() for weight, _ in listed]
            for weight, array in listed:
                held[weight] = array
        change(file)

    return hdf5(write)


def native_hdf5(tree: Mapping[str, NDArray[Any]], change: Change = lambda file: None) -> bytes:
    """Return the weights tree of Keras 2.13 and later."""

    def write(file: h5py.File) -> None:
        for path, array in tree.items():
            file[path] = array
        change(file)

    return hdf5(write)


def small_tree() -> dict[str, NDArray[Any]]:
    _, weights = small_model()
    tree = {f"layers/gru/cell/vars/{i}": array for i, (_, array) in enumerate(weights["gru"])}
    return tree | {f"layers/dense/vars/{i}": array for i, (_, array) in enumerate(weights["dense"])}


def zipped(
    config: object,
    weights: bytes,
    version: str = "3.15.1",
    compression: int = zipfile.ZIP_STORED,
    extra: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """Return a `.keras` zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        text = config if isinstance(config, (bytes, str)) else json.dumps(config)
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", weights)
        for name, content in extra:
            archive.writestr(name, content)
    return buffer.getvalue()


def saved(folder: Path, content: bytes, name: str = "model.keras") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
