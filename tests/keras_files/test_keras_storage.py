"""Files as people repack them, and as h5py's newer formats lay them out, give the same model."""

import json
import zlib
from pathlib import Path
from typing import Any

import h5py
import kerasbytes as kb
import numpy as np
import pytest
import torch

from grulight.errors import InputError
from grulight.keras_files.port import load_keras

SIZES = {"words": 3001, "features": 40, "units": 24}
CONFIG = {
    "class_name": "Sequential",
    "config": {
        "layers": [
            kb.layer(
                "Embedding",
                name="words",
                input_dim=SIZES["words"],
                output_dim=SIZES["features"],
                batch_input_shape=[None, 7],
            ),
            kb.layer("GRU", **kb.gru_config(units=SIZES["units"])),
        ]
    },
}
EMBEDDINGS = "model_weights/words/words/embeddings:0"


def weights(dtype: str = "f4") -> dict[str, kb.Weights]:
    names = ("kernel:0", "recurrent_kernel:0", "bias:0")
    [table] = kb.arrays((SIZES["words"], SIZES["features"]))
    gru = kb.gru_arrays(SIZES["features"], SIZES["units"])
    return {
        "words": [("words/embeddings:0", table.astype(dtype))],
        "gru": [(f"gru/{n}", a.astype(dtype)) for n, a in zip(names, gru, strict=True)],
    }


def written(
    path: Path,
    arrays: dict[str, kb.Weights],
    settings: dict[str, Any],
    *,
    empty: int = 0,
    padding: int = 0,
    **file_settings: Any,
) -> Path:
    """Write a legacy file with so many empty layers and so long a configuration."""
    with h5py.File(path, "w", **file_settings) as file:
        file.attrs["model_config"] = np.bytes_((json.dumps(CONFIG) + " " * padding).encode())
        group = file.create_group("model_weights")
        group.attrs["keras_version"] = "2.4.0"
        unused = [f"dropout_{at}" for at in range(empty)]
        group.attrs["layer_names"] = [name.encode() for name in [*arrays, *unused]]
        for name, listed in {**arrays, **{name: [] for name in unused}}.items():
            held = group.create_group(name)
            held.attrs["weight_names"] = [weight.encode() for weight, _ in listed]
            for at in range(12 if empty and listed else 0):  # enough to be kept in a heap
                held.attrs[f"note {at}"] = at
            for weight, array in listed:
                chosen = {key: v(array) if callable(v) else v for key, v in settings.items()}
                held.create_dataset(weight, data=array, **chosen)
    return path


PACKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "in chunks": {"chunks": True},
    "gzip": {"compression": "gzip"},
    "gzip, shuffled, with sums": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "gzip in many small chunks": {
        "compression": "gzip",
        "chunks": lambda array: tuple(max(1, size // 37) for size in array.shape),
    },
    "gzip in one chunk": {"compression": "gzip", "chunks": lambda array: array.shape},
    "growing along the first axis": {
        "compression": "gzip",
        "maxshape": lambda array: (2 * array.shape[0], *array.shape[1:]),
    },
}
FORMATS: dict[str, dict[str, Any]] = {
    "earliest": {},
    "latest": {"libver": "latest"},
    "in order": {"track_order": True},
    "latest in order": {"libver": "latest", "track_order": True},
}


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_repacked_file_gives_the_same_arrays(
    packing: str, version: str, dtype: str, tmp_path: Path
) -> None:
    arrays = weights(dtype)
    path = written(tmp_path / "model.h5", arrays, PACKED[packing], **FORMATS[version])
    read = load_keras(path).keras_arrays()
    for layer, listed in arrays.items():
        for name, array in listed:
            ours = read[layer][name.rpartition("/")[2].removesuffix(":0")]
            np.testing.assert_array_equal(ours, array)


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("empty", [9, 3000])
def test_groups_and_attributes_kept_in_heaps(version: str, empty: int, tmp_path: Path) -> None:
    arrays = weights()
    padding = 200_000 if version == "latest" else 0  # more than a header holds
    path = written(tmp_path / "x.h5", arrays, {}, empty=empty, padding=padding, **FORMATS[version])
    read = load_keras(path).keras_arrays()
    np.testing.assert_array_equal(read["words"]["embeddings"], arrays["words"][0][1])


@pytest.mark.parametrize("chunks", [None, True])
def test_array_that_was_never_written_holds_its_fill_value(
    chunks: bool | None, tmp_path: Path
) -> None:
    def change(file: h5py.File) -> None:
        del file["model_weights/dense/dense/bias:0"]
        settings = {"fillvalue": 0.25, "chunks": chunks}
        file.create_dataset("model_weights/dense/dense/bias:0", (2,), "f4", **settings)

    content = kb.legacy(*kb.small_model(), change=change)
    model = load_keras(kb.saved(tmp_path, content))
    assert model.keras_arrays()["dense"]["bias"].tolist() == [0.25, 0.25]


def test_chunks_read_as_they_are_leave_nothing_of_the_file_behind(tmp_path: Path) -> None:
    path = written(tmp_path / "model.h5", weights(), {"compression": "gzip"})
    once, twice = (load_keras(path) for _ in range(2))
    with torch.no_grad():
        for parameter in once.parameters():
            parameter.zero_()
    assert all(parameter.abs().sum() > 0 for parameter in twice.parameters())


def test_other_compression_is_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "model.h5", weights(), {"compression": "lzf"})
    with pytest.raises(InputError, match="compressed with lzf, expected gzip"):
        load_keras(path)


def test_chunk_that_unpacks_to_more_than_its_shape_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "model.h5", weights(), {})
    with h5py.File(path, "r+") as file:
        del file[EMBEDDINGS]
        shape = (SIZES["words"], SIZES["features"])
        held = file.create_dataset(EMBEDDINGS, shape, "f4", chunks=shape, compression="gzip")
        held.id.write_direct_chunk((0, 0), zlib.compress(bytes(100 << 20)))
    with pytest.raises(InputError, match="unpacks to more than its shape"):
        load_keras(path)
