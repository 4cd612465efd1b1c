"""What a file says by name stands against our own reading of it."""

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from parity.keras_files.inputs import Input
from parity.keras_files.names_in_file import named_arrays, said_major

GAMMA, BETA = np.arange(3.0), -np.arange(3.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.4.0"
        group = file.create_group("model_weights").create_group("norm")
        names = ["norm/gamma:0", "norm/beta:0"]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, array in zip(names, (GAMMA, BETA), strict=True):
            group[name] = array
    return path


def test_arrays_swapped_by_our_reading_come_back_as_the_file_names_them(path: Path) -> None:
    swapped = {"norm/gamma": BETA, "norm/beta": GAMMA, "norm/kernel": GAMMA, "gru/gamma": BETA}
    found = named_arrays(path, swapped)
    assert found.keys() == {"norm/gamma", "norm/beta"}
    np.testing.assert_array_equal(found["norm/gamma"], GAMMA)
    np.testing.assert_array_equal(found["norm/beta"], BETA)
    assert named_arrays(path, {"norm/gamma": np.zeros(4)}) == {}


def test_gates_that_keras_1_keeps_apart_go_by_their_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "older.h5", "w") as file:
        group = file.create_group("model_weights").create_group("gru")
        names = [f"gru_{part}_{gate}:0" for gate in "rzh" for part in "WUb"]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for number, name in enumerate(names):
            group[name] = np.full((2, 2) if "_b_" not in name else 2, float(number))
    like = {"gru/kernel": np.zeros((2, 6)), "gru/bias": np.zeros(6), "dense/kernel": np.zeros(2)}
    found = named_arrays(tmp_path / "older.h5", like)
    assert found.keys() == {"gru/kernel", "gru/bias"}
    np.testing.assert_array_equal(found["gru/kernel"][0], [3, 3, 0, 0, 6, 6])
    np.testing.assert_array_equal(found["gru/bias"], [5, 5, 2, 2, 8, 8])


def test_the_version_is_the_one_that_the_file_says(path: Path, tmp_path: Path) -> None:
    assert said_major(path) == 2
    native = tmp_path / "new.keras"
    with zipfile.ZipFile(native, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
    assert said_major(native) == 3
    with h5py.File(tmp_path / "alone.h5", "w") as file:
        file.create_group("layers")
    assert said_major(tmp_path / "alone.h5") is None


def test_two_inputs_of_a_model_mask_other_steps() -> None:
    given = Input("x", (None, 9, 3), "float", masked_by=0.5)
    masks = [given.draw(5, np.random.default_rng(0), turn)["masked.x"] for turn in (0, 1)]
    assert (masks[0] != masks[1]).any(axis=1).all()
