"""A container gives its configuration and arrays, or is refused in one line."""

import resource
import time
from pathlib import Path

import h5py
import hostile
import kerasbytes as kb
import numpy as np
import pytest

from grulight.errors import InputError
from grulight.keras_files.reader.container import read_container
from grulight.keras_files.reader.weight_groups import LegacyWeights, NativeWeights


def legacy_weights(path: Path) -> dict[str, list[tuple[int, ...]]]:
    container = read_container(path, None)
    assert isinstance(container.weights, LegacyWeights)
    return {
        name: [stored.shape for stored in held] for name, held in container.weights.layers.items()
    }


SMALL_SHAPES = {"gru": [(3, 12), (4, 12), (2, 12)], "dense": [(4, 2), (2,)]}


def test_legacy_arrays_come_in_the_order_of_weight_names(tmp_path: Path) -> None:
    config, weights = kb.small_model()
    path = kb.saved(tmp_path, kb.legacy(config, weights))
    assert legacy_weights(path) == SMALL_SHAPES
    container = read_container(path, None)
    assert container.config == config
    assert container.version.text == "2.2.4"
    assert isinstance(container.weights, LegacyWeights)
    ours = container.weights.layers["gru"][0].read()
    np.testing.assert_array_equal(ours, weights["gru"][0][1])


def test_layout_is_told_from_content_not_from_the_name(tmp_path: Path) -> None:
    config, weights = kb.small_model()
    path = kb.saved(tmp_path, kb.legacy(config, weights), "misnamed.keras")
    assert legacy_weights(path) == SMALL_SHAPES
    path = kb.saved(tmp_path, kb.zipped(config, kb.native_hdf5(kb.small_tree())), "misnamed.h5")
    container = read_container(path, None)
    assert isinstance(container.weights, NativeWeights)
    assert set(container.weights.children[""]) == {"gru", "dense"}


def test_split_attributes_are_joined(tmp_path: Path) -> None:
    def split(file: h5py.File) -> None:
        for group, name in ((file["model_weights"], "layer_names"), *gru(file)):
            whole = group.attrs[name]
            del group.attrs[name]
            group.attrs[f"{name}0"], group.attrs[f"{name}1"] = list(whole[:1]), list(whole[1:])

    def gru(file: h5py.File) -> list[tuple[h5py.Group, str]]:
        return [(file["model_weights/gru"], "weight_names")]

    config, weights = kb.small_model()
    path = kb.saved(tmp_path, kb.legacy(config, weights, change=split))
    assert legacy_weights(path) == SMALL_SHAPES


def test_fixed_and_variable_length_texts_are_read(tmp_path: Path) -> None:
    def as_text(file: h5py.File) -> None:
        file.attrs["model_config"] = np.bytes_(file.attrs["model_config"])
        names = file["model_weights"].attrs["layer_names"]
        file["model_weights"].attrs["layer_names"] = np.array([name.encode() for name in names])

    config, weights = kb.small_model()
    path = kb.saved(tmp_path, kb.legacy(config, weights, change=as_text))
    assert legacy_weights(path) == SMALL_SHAPES


def test_keras_1_names_no_version(tmp_path: Path) -> None:
    config, weights = kb.small_model()
    container = read_container(kb.saved(tmp_path, kb.legacy(config, weights, None)), None)
    assert container.version.major == 1


def test_weights_alone_need_a_configuration(tmp_path: Path) -> None:
    config, weights = kb.small_model()
    path = kb.saved(tmp_path, kb.legacy(None, weights), "w.h5")
    with pytest.raises(InputError, match=r"no configuration.*config=FILE"):
        legacy_weights(path)
    container = read_container(path, config)
    assert container.config == config


def test_windows_separators_are_normalised(tmp_path: Path) -> None:
    def windows(file: h5py.File) -> None:
        for path, array in kb.small_tree().items():
            layer_part, _, rest = path.partition("/vars/")
            file[layer_part.replace("/", "\\") + "/vars/" + rest] = array

    config, _ = kb.small_model()
    path = kb.saved(tmp_path, kb.zipped(config, kb.hdf5(windows), "2.15.0"))
    container = read_container(path, None)
    assert isinstance(container.weights, NativeWeights)
    assert set(container.weights.children[""]) == {"gru", "dense"}
    assert "gru/cell/vars/2" in container.weights.arrays


def test_what_is_ignored_is_named(tmp_path: Path) -> None:
    def train(file: h5py.File) -> None:
        file.attrs["training_config"] = b'{"loss": "my_loss"}'
        file["optimizer_weights/Adam/iterations:0"] = 3
        file["notes/x"] = 1.0

    config, weights = kb.small_model()
    path = kb.saved(tmp_path, kb.legacy(config, weights, change=train))
    container = read_container(path, None)
    assert set(container.ignored) == {
        "training_config",
        "optimizer state",
        "root group 'notes'",
    }


@pytest.mark.parametrize("name", hostile.CONTAINERS)
def test_hostile_container_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    build, words = hostile.CONTAINERS[name]
    path = kb.saved(tmp_path, build())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with pytest.raises(InputError, match=words) as refusal:
        read_container(path, None)
    assert "\n" not in str(refusal.value)
    assert time.perf_counter() - start < 5
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < 3 * path.stat().st_size + (200 << 20)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "neither a .keras zip nor HDF5"),
        (b"version https://git-lfs", "neither a .keras zip nor HDF5"),
        (b"PK\x03\x04" + bytes(100), "damaged zip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "damaged HDF5"),
    ],
)
def test_what_is_no_keras_file_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = kb.saved(tmp_path, content)
    with pytest.raises(InputError, match=words):
        read_container(path, None)


def test_folder_and_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder"):
        read_container(tmp_path, None)
    with pytest.raises(InputError, match="no such file"):
        read_container(tmp_path / "x", None)


def test_hundred_megabytes_open_in_two_seconds(tmp_path: Path) -> None:
    big = np.zeros((25_000, 1000), np.float32)
    config, _ = kb.small_model()
    tree = kb.small_tree() | {"layers/dense/vars/0": big}
    path = kb.saved(tmp_path, kb.zipped(config, kb.native_hdf5(tree)))
    start = time.perf_counter()
    container = read_container(path, None)
    assert isinstance(container.weights, NativeWeights)
    assert container.weights.arrays["dense/vars/0"].read().nbytes == 100_000_000
    assert time.perf_counter() - start < 2
