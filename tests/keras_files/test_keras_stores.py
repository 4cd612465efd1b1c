"""Keras 3's other weights: `.npz` inside `.keras` and alone, shards of HDF5, unzipped folders."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kerasbytes as kb
import numpy as np
import pytest
import storebytes as sb
import theirs
from casekit import Case
from cases import CASES
from test_tensorflow_js import same

from grulight.errors import InputError
from grulight.keras_files.port import load_keras

QUICK = ("bidirectional concat every step masked", "models in a model", "stacked cells")
KERAS_3 = [
    pytest.param(case, id=case.name, marks=() if case.name in QUICK else (pytest.mark.slow,))
    for case in CASES
    if case.name != "layers called as in inference"
]


@pytest.mark.parametrize("case", KERAS_3)
def test_every_store_of_keras_3_is_one_model(case: Case, tmp_path: Path) -> None:
    from keras.src.saving import saving_lib

    model = theirs.built(case.build, 5)
    path, _ = theirs.saved(model, tmp_path)["keras"]
    expected, config = load_keras(path), str(tmp_path / "config.json")
    size = 2000 / (1 << 30)  # gigabytes

    def save() -> None:
        saving_lib.save_model(model, tmp_path / "npz.keras", weights_format="npz")
        saving_lib.save_model(model, tmp_path / "folder", zipped=False)
        model.save_weights(tmp_path / "model.weights.json", max_shard_size=size)

    theirs.quietly(save)
    with zipfile.ZipFile(tmp_path / "npz.keras") as archive:
        alone = kb.saved(tmp_path, archive.read("model.weights.npz"), "weights.npz")
    assert same(load_keras(tmp_path / "npz.keras"), expected)
    assert same(load_keras(alone, config=config), expected)
    assert same(load_keras(tmp_path / "model.weights.json", config=config), expected)
    assert same(load_keras(tmp_path / "folder"), expected)


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Return the arrays of the small model."""
    return kb.small_tree()


def expected(folder: Path, tree: dict[str, np.ndarray]) -> Any:
    content = kb.zipped(sb.small_config(), kb.native_hdf5(tree))
    return load_keras(kb.saved(folder, content, "whole.keras"))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("plain", [False, True])
def test_npz_of_dictionaries_and_of_arrays(
    plain: bool, order: Any, tree: dict[str, np.ndarray], tmp_path: Path
) -> None:
    laid = {path: np.asarray(array, order=order) for path, array in tree.items()}
    content = sb.npz(laid if plain else sb.grouped(laid))
    path = kb.saved(tmp_path, sb.keras_npz(content))
    assert same(load_keras(path), expected(tmp_path, tree))


@pytest.mark.parametrize("protocol", [3, 4])
def test_pickles_of_other_numpys_are_read(
    protocol: int, tree: dict[str, np.ndarray], tmp_path: Path
) -> None:
    assert same(load_keras(_repickled(tree, tmp_path, protocol)), expected(tmp_path, tree))


def test_pickles_that_keep_bytes_as_texts_are_refused(
    tree: dict[str, np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"damaged|Refused"):
        load_keras(_repickled(tree, tmp_path, 2))


def _repickled(tree: dict[str, np.ndarray], folder: Path, protocol: int) -> Path:
    members = {}
    for group, arrays in sb.grouped(tree).items():
        content = pickle.dumps(np.array(arrays, object), protocol)
        members[group] = content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
    return kb.saved(folder, sb.keras_npz(raw_npz(members)))


def raw_npz(
    members: dict[str, bytes],
    header: str = "{'descr': '|O', 'fortran_order': False, 'shape': (), }",
) -> bytes:
    """Return a `.npz` whose members hold these pickles."""
    buffer = io.BytesIO()
    head = (header + " " * (117 - len(header)) + "\n").encode()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            start = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head
            archive.writestr(f"{name}.npy", start + content)
    return buffer.getvalue()


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


HELD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a command": (lambda p: {"0": Runs(p)}, "a variable of 0 arrays"),
    "a command for all": (lambda p: Runs(p), "where an array is expected|damaged"),
    "a command beside an array": (lambda p: {"0": [Runs(p), np.ones(3)]}, "shape|expected"),
    "two arrays for one": (lambda p: {"0": [np.ones(3), np.ones(4)]}, "a variable of 2 arrays"),
    "a number": (lambda p: {"0": 3}, "a variable of 0 arrays"),
    "a list": (lambda p: [np.ones(3)], "damaged"),
    "objects": (lambda p: {"0": np.array([{}, {}])}, "without its shape|an array of"),
    "texts": (lambda p: {"0": np.array(["a"])}, "an array of"),
    "numbers for names": (lambda p: {0: np.ones(3)}, "a name that is no text"),
    "a name with a slash": (lambda p: {"../0": np.ones(3)}, "an array called"),
}


@pytest.mark.parametrize("name", HELD)
def test_nothing_in_a_pickle_is_run(name: str, tmp_path: Path) -> None:
    make, words = HELD[name]
    marker = tmp_path / "was run"
    held = np.array(None, object)
    held[()] = make(marker)
    content = raw_npz({"layers/gru/cell": pickle.dumps(held, 4)})
    with pytest.raises(InputError, match=words):
        load_keras(kb.saved(tmp_path, sb.keras_npz(content)))
    assert not marker.exists()


def test_sizes_that_an_npz_declares_are_checked_first(tmp_path: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    content = raw_npz({"layers/gru/cell/vars/0": bytes(64)}, header)
    with pytest.raises(InputError, match="damaged or cut short"):
        load_keras(kb.saved(tmp_path, sb.keras_npz(content)))


def test_pickled_bytes_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    whole = pickle.dumps(np.array({"0": np.ones((3, 12), "f4")}, object), 4)
    wrong = whole.replace(b"K\x03K\x0c\x86", b"K\x7fK\x0c\x86")
    assert wrong != whole
    with pytest.raises(InputError, match=r"an array of shape \(127, 12\) in 144 bytes"):
        load_keras(kb.saved(tmp_path, sb.keras_npz(raw_npz({"layers/gru/cell": wrong}))))


def test_npz_of_something_else_is_refused(tmp_path: Path) -> None:
    path = kb.saved(tmp_path, sb.npz({"x": np.ones(3)}), "data.npz")
    with pytest.raises(InputError, match="no weights of Keras' layers"):
        load_keras(path, config=sb.small_config())


@pytest.mark.parametrize("each", [1, 2, 5])
def test_shards_are_one_model(each: int, tree: dict[str, np.ndarray], tmp_path: Path) -> None:
    files = sb.shards(tree, each)
    path = sb.written(tmp_path / "shards", files) / "model.weights.json"
    with pytest.raises(InputError, match="config=FILE"):
        load_keras(path)
    assert same(load_keras(path, config=sb.small_config()), expected(tmp_path, tree))


SHARD = "model_00000.weights.h5"
MAPS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a shard elsewhere": (
        lambda m: m["weight_map"].update({"/layers/x/vars": "../x.h5"}),
        "inside",
    ),
    "a shard that is missing": (
        lambda m: m["weight_map"].update({"/layers/x/vars": "x.h5"}),
        "'x.h5' is named and not there",
    ),
    "a group that is missing": (
        lambda m: m["weight_map"].update({"/layers/x/vars": SHARD}),
        "lists '/layers/x/vars', which no shard holds",
    ),
    "a group of another shard": (
        lambda m: m["weight_map"].update({"/layers/dense/vars": SHARD}),
        "does not say",
    ),
    "a group unsaid": (lambda m: m["weight_map"].pop("/layers/dense/vars"), "does not say|lacks"),
    "a number for a shard": (
        lambda m: m["weight_map"].update({"/layers/x/vars": 3}),
        "expected shards",
    ),
    "no groups": (lambda m: m.update(weight_map={}), "lists no weights"),
}


@pytest.mark.parametrize("name", MAPS)
def test_what_is_wrong_with_an_index_is_said_in_one_line(
    name: str, tree: dict[str, np.ndarray], tmp_path: Path
) -> None:
    change, words = MAPS[name]
    files = sb.changed(sb.shards(tree), change)
    path = sb.written(tmp_path / "shards", files) / "model.weights.json"
    with pytest.raises(InputError, match=words):
        load_keras(path, config=sb.small_config())


def test_array_in_two_shards_is_refused(tree: dict[str, np.ndarray], tmp_path: Path) -> None:
    files = sb.shards(tree, 5)
    index = json.loads(files["model.weights.json"])
    twice = {group: [*held, "again.h5"] for group, held in index["weight_map"].items()}
    files["model.weights.json"] = json.dumps({"weight_map": twice}).encode()
    path = sb.written(tmp_path, {**files, "again.h5": files[SHARD]}) / "model.weights.json"
    with pytest.raises(InputError, match="another shard holds"):
        load_keras(path, config=sb.small_config())


def test_model_json_among_the_assets_of_a_keras_file_is_not_the_model(tmp_path: Path) -> None:
    tree, assets = kb.small_tree(), [("assets/model.json", b"{}"), ("assets/config.json", b"{}")]
    content = kb.zipped(sb.small_config(), kb.native_hdf5(tree), extra=assets)
    assert same(load_keras(kb.saved(tmp_path, content)), expected(tmp_path, tree))
