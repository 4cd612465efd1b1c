"""A packed directory is data: whatever is in it, one line says what is wrong, or it is read."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grulight.cli import main
from grulight.data.batches import Batches
from grulight.data.readers import ReadOptions, read
from grulight.data.sequences import Sequences
from grulight.data.statistics import feature_statistics
from grulight.errors import InputError

LENGTHS = (3, 1, 5, 2, 5, 4)
NAMES = ("values-00000", "lengths", "starts", "labels", "ids")


def write_source(folder: Path, *, per_step: bool = False, values: bool = False) -> Path:
    rng = np.random.default_rng(0)
    shape = (6, 5) if per_step else (6,)
    y = rng.normal(size=shape) if values else np.arange(6).repeat(np.prod(shape) // 6) % 3
    path = folder / "source.npz"
    np.savez(path, x=rng.normal(size=(6, 5, 2)), lengths=LENGTHS, y=y.reshape(shape))
    return path


def pack(folder: Path, **kind: bool) -> Path:
    target = folder / "packed"
    assert main(["pack", str(write_source(folder, **kind)), "-o", str(target)]) == 0
    return target


@pytest.fixture(scope="module", params=["classes", "classes per step", "values"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    return pack(folder, per_step="step" in request.param, values=request.param == "values")


def used(directory: Path) -> Sequences:
    """Read everything that training and prediction read."""
    sequences = read(str(directory))
    read(str(directory), ReadOptions(require_labels=False))
    count, steps, width = sequences.values.shape
    assert count == len(sequences) == len(sequences.ids.tolist())
    assert 1 <= sequences.lengths.min() <= sequences.lengths.max() <= steps
    assert sequences.labels is not None
    if not sequences.has_values:
        assert 0 <= sequences.labels.min() <= sequences.labels.max() < len(sequences.class_names)
        sequences.with_classes(sequences.present_classes())
    for batch in Batches(sequences, 4):
        assert batch.values.shape[2] == width
        assert np.isfinite(batch.values.numpy()).all()
    assert np.isfinite(feature_statistics(sequences)).all()
    return sequences


def refused(directory: Path, name: str, array: np.ndarray) -> str:
    file = directory / f"{name}.npy"
    whole = file.read_bytes()
    np.save(file, array)
    try:
        with pytest.raises(InputError) as found:
            used(directory)
    finally:
        file.write_bytes(whole)
    assert len(str(found.value)) <= 500
    assert str(found.value).startswith(str(file))
    return str(found.value).removeprefix(f"{file}: ")


@pytest.mark.parametrize("per_step", [False, True], ids=["per sequence", "per step"])
@pytest.mark.parametrize(
    ("name", "at", "value", "expected"),
    [
        ("lengths", 5, 6, "entry 5 (counted from 0) is 6, expected 1 to 5 steps. Pack the source"),
        ("lengths", 0, 0, "entry 0 (counted from 0) is 0, expected 1 to 5"),
        ("lengths", 0, -(2**63), "expected 1 to 5"),
        ("starts", 1, -1, "entry 1 (counted from 0) is -1, expected a row at which it ends within"),
        ("starts", 5, 17, "entry 5 (counted from 0) is 17, expected a row at which it ends within"),
        ("starts", 5, 2**63 - 1, "expected a row at which it ends within its shard"),
        ("labels", -1, 3, "is 3, expected one of 3 classes, counted from 0"),
        ("labels", 0, -1, "is -1, expected one of 3 classes, counted from 0"),
        ("labels", 0, 2**40, "expected one of 3 classes, counted from 0"),
    ],
)
def test_a_number_out_of_range_is_named(
    tmp_path: Path, per_step: bool, name: str, at: int, value: int, expected: str
) -> None:
    directory = pack(tmp_path, per_step=per_step)
    array = np.load(directory / f"{name}.npy")
    array.reshape(-1)[at] = value
    assert expected in refused(directory, name, array)


def test_labels_that_are_not_finite_are_named(tmp_path: Path) -> None:
    directory = pack(tmp_path, values=True)
    array = np.load(directory / "labels.npy")
    array[4] = np.inf
    assert "entry 4 (counted from 0) is inf, expected a finite" in refused(
        directory, "labels", array
    )


@pytest.mark.parametrize("name", NAMES)
def test_another_type_is_refused(directory: Path, name: str) -> None:
    array = np.load(directory / f"{name}.npy")
    kinds = [array.dtype.newbyteorder(), "S3", "V8", "f2", "complex64", "i2", "?"]
    for kind in [each for each in kinds if np.dtype(each) != array.dtype]:
        other = np.zeros(array.shape, kind)
        assert "holds" in refused(directory, name, other)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"steps": 4}, r"lengths\.npy: entry 2 .* is 5, expected 1 to 4 steps"),
        ({"steps": 10**9}, r"index\.json: pads sequences of up to 5 steps to 1000000000, expected"),
        ({"steps": 10**30}, r"index\.json: lacks a right 'steps', expected a whole number"),
        ({"steps": True}, r"index\.json: lacks a right 'steps'"),
        ({"shards": [{"sequences": 6, "steps": 10**9}]}, r"values-00000\.npy: holds"),
        ({"feature_names": ["a", "a"]}, "lacks a right 'feature_names', expected distinct texts"),
        ({"class_names": ["a", "b"]}, r"labels\.npy: entry 2 .* is 2, expected one of 2 classes"),
        ({"class_names": ["a", "b", "\ud800"]}, "class_names: text 2 .* no character of Unicode"),
        ({"class_names": None}, r"labels\.npy: holds int64 .* expected float32"),
        ({"version": "9" * 9999}, "has version 9{40} of the format"),
    ],
)
def test_an_index_that_promises_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    directory = pack(tmp_path)
    index = json.loads((directory / "index.json").read_text())
    (directory / "index.json").write_text(json.dumps(index | changes))
    with pytest.raises(InputError, match=expected) as found:
        used(directory)
    assert len(str(found.value)) <= 500


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 9_999, "\udcff", "NaN", ""])
def test_an_index_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    directory = pack(tmp_path)
    (directory / "index.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"index\.json: (is damaged|was not written)"):
        read(str(directory))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_regular_file_is_not_waited_for(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    directory = pack(tmp_path)
    file = directory / f"{name}.npy"
    file.unlink()
    make(file)
    with pytest.raises(InputError, match=r"is not a regular file|Is a directory"):
        read(str(directory))


def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    directory = pack(tmp_path)
    (directory / "lengths.npy").rename(tmp_path / "elsewhere.npy")
    (directory / "lengths.npy").symlink_to(tmp_path / "elsewhere.npy")
    assert used(directory).lengths.tolist() == list(LENGTHS)


def test_a_header_longer_than_any_is_not_loaded(tmp_path: Path) -> None:
    directory = pack(tmp_path)
    file = directory / "lengths.npy"
    file.write_bytes(b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little"))
    with pytest.raises(
        InputError, match="a header of 2,147,483,648 bytes, expected at most 10,000"
    ):
        read(str(directory))


def test_a_value_that_is_not_finite_ends_a_run_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", "waves", "-o", "packed"]) == 0
    values = np.load("packed/values-00000.npy")
    values[4321, 2] = np.nan
    np.save("packed/values-00000.npy", values)
    capsys.readouterr()
    given = ("--data.source", "packed", "--trainer.max_epochs", "1")
    assert main(["fit", *given]) == 2
    expected = "row 4321 (counted from 0), feature 'x2': nan is not a finite number. Pack"
    [line] = [line for line in capsys.readouterr().err.splitlines() if "grulight fit:" in line]
    assert f"packed/values-00000.npy: {expected}" in line


# --- anything at all ----------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
_SHARDS = st.lists(
    st.fixed_dictionaries({"sequences": st.integers(-1, 9), "steps": st.integers(-1, 30)}),
    max_size=3,
)
_NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 25)
_KINDS = ("i8", "f4", ">i8", "i4", "u8", "f8", "c8", "?", "U1", "S2", "V3", "M8[s]", "O")


@st.composite
def spoiled_arrays(draw: Any, original: np.ndarray) -> bytes:
    """Return a .npy file that is like another, or nearly."""
    import io

    array = original.copy()
    how = draw(st.sampled_from(["entries", "type", "shape", "bytes", "cut"]))
    if how == "type":
        array = np.zeros(array.shape, draw(st.sampled_from(_KINDS)))
    if how == "shape":
        array = np.resize(array, draw(st.lists(st.integers(0, 7), max_size=3)))
    if how == "entries" and array.dtype.kind in "if":
        value = draw(_NUMBERS if array.dtype.kind == "i" else st.floats(width=32))
        array.reshape(-1)[draw(st.integers(0, array.size - 1))] = value
    file = io.BytesIO()
    np.save(file, array)
    content = bytearray(file.getvalue())
    if how in ("bytes", "entries"):
        for _ in range(draw(st.integers(0, 3))):
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))] if how == "cut" else content)


def spoil(directory: Path, draw: Any) -> None:
    name = draw(st.sampled_from(["index.json", *(f"{name}.npy" for name in NAMES)]))
    file = directory / name
    before = file.read_bytes()
    if name == "index.json":
        index = json.loads(before)
        key = draw(st.sampled_from(sorted(index)))
        near = _SHARDS if key == "shards" else st.integers(-1, 2**70)
        content = json.dumps(index | {key: draw(_JSON | near)}).encode()
    else:
        content = draw(spoiled_arrays(np.load(file)))
    said = ""
    try:
        file.write_bytes(content)
        used(directory)
    except InputError as error:
        said = str(error)
    finally:
        file.write_bytes(before)
    assert len(said.replace(str(directory), "")) <= 500
    assert "\n" not in said


_ANYWHERE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=_ANYWHERE)
def test_any_directory_is_read_or_refused(directory: Path, data: Any) -> None:
    spoil(directory, data.draw)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=20_000, deadline=None, suppress_health_check=_ANYWHERE)
def test_any_of_many_directories_is_read_or_refused(directory: Path, data: Any) -> None:
    spoil(directory, data.draw)
