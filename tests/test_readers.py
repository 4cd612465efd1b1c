import zipfile
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grulight.cli import main
from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import ReadOptions, has_test_part, read
from grulight.errors import InputError

LABELLED = ReadOptions()
UNLABELLED = ReadOptions(require_labels=False)
X = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
Y = np.array([2, 10, 2, 10])


def npz(folder: Path, compressed: bool = False, **arrays: npt.ArrayLike) -> str:
    path = folder / "data.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return str(path)


def text(folder: Path, content: str | bytes, name: str = "data.csv") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def parquet(folder: Path, **columns: object) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "data.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


def refusal(source: str, options: ReadOptions = LABELLED) -> str:
    """Return the message of the refusal, which is one line that names the source."""
    with pytest.raises(InputError) as caught:
        read(source, options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert Path(source).name in message
    return message


# --- arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, ">f4"])
def test_uncompressed_npz_is_mapped_and_not_copied(
    tmp_path: Path, order: str, dtype: npt.DTypeLike
) -> None:
    x = np.array(10 * X, dtype=dtype, order=order)
    sequences = read(npz(tmp_path, y=Y, a_key_before="x" * 3, x=x))
    assert isinstance(sequences.values, np.memmap)
    assert sequences.values.dtype == x.dtype
    assert not sequences.values.flags.writeable
    np.testing.assert_array_equal(sequences.values, x)
    assert isinstance(sequences.part(1, 3).values, np.memmap)


def test_compressed_npz_becomes_float32_in_memory(tmp_path: Path) -> None:
    sequences = read(npz(tmp_path, compressed=True, x=X.astype(np.float64), y=Y))
    assert not isinstance(sequences.values, np.memmap)
    assert sequences.values.dtype == np.float32
    np.testing.assert_array_equal(sequences.values, X)
    np.testing.assert_array_equal(sequences.lengths, [3, 3, 3, 3])
    assert sequences.ids.tolist() == ["0", "1", "2", "3"]
    assert sequences.feature_names == ("feature_0", "feature_1")


def test_padding_of_arrays_in_memory_is_zeroed_and_may_hold_anything(tmp_path: Path) -> None:
    x = X.copy()
    x[1, 2:] = np.nan
    sequences = read(npz(tmp_path, compressed=True, x=x, y=Y, lengths=[3, 2, 3, 1]))
    assert (sequences.values[1, 2:] == 0).all()
    assert (sequences.values[3, 1:] == 0).all()
    np.testing.assert_array_equal(sequences.values[3, :1], X[3, :1])


def test_padding_of_mapped_arrays_may_hold_anything(tmp_path: Path) -> None:
    x = X.copy()
    x[1, 2:] = np.nan
    sequences = read(npz(tmp_path, x=x, y=Y, lengths=np.array([3.0, 2.0, 3.0, 1.0])))
    np.testing.assert_array_equal(sequences.lengths, [3, 2, 3, 1])
    assert sequences.lengths.dtype == np.int64


def test_names_in_an_npz_are_kept(tmp_path: Path) -> None:
    names = {"class_names": ["up", "down"], "feature_names": ["a", "b"], "ids": list("wxyz")}
    for y in ([1, 0, 1, 1], ["down", "up", "down", "down"], [b"down", b"up", b"down", b"down"]):
        sequences = read(npz(tmp_path, x=X, y=y, **names))
        assert sequences.class_names == ("up", "down")
        assert sequences.feature_names == ("a", "b")
        assert sequences.ids.tolist() == ["w", "x", "y", "z"]
        assert sequences.labels is not None
        assert sequences.labels.tolist() == [1, 0, 1, 1]


def test_npy_is_mapped_with_labels_and_lengths_from_other_files(tmp_path: Path) -> None:
    for name, array in {"x": X, "labels": Y, "lengths": [1, 2, 3, 3]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    files = {f"{key}_file": str(tmp_path / f"{key}.npy") for key in ("labels", "lengths")}
    sequences = read(str(tmp_path / "x.npy"), ReadOptions(**files))
    assert isinstance(sequences.values, np.memmap)
    np.testing.assert_array_equal(sequences.values, X)
    assert sequences.class_names == ("2", "10")
    assert sequences.lengths.tolist() == [1, 2, 3, 3]
    assert read(str(tmp_path / "x.npy"), UNLABELLED).labels is None


@pytest.mark.parametrize(
    ("y", "names", "indices"),
    [
        ([10, 2, -1, 2], ("-1", "2", "10"), [2, 1, 0, 1]),
        (["10", "2", "1", "2"], ("1", "2", "10"), [2, 1, 0, 1]),
        (["b", "a", "10", "b"], ("10", "a", "b"), [2, 1, 0, 2]),
        ([10.0, 2.0, 2.0, 10.0], ("2", "10"), [1, 0, 0, 1]),
        (["10.0", "2", "2.", "10"], ("2", "10"), [1, 0, 0, 1]),
        ([True, False, True, True], ("0", "1"), [1, 0, 1, 1]),
        (
            np.array([2**63 + 1, 0, 0, 0], dtype=np.uint64),
            ("0", "9223372036854775809"),
            [1, 0, 0, 0],
        ),
    ],
)
def test_labels_become_indices_into_sorted_names(
    tmp_path: Path, y: npt.ArrayLike, names: tuple[str, ...], indices: list[int]
) -> None:
    sequences = read(npz(tmp_path, x=X, y=y))
    assert sequences.class_names == names
    assert sequences.labels is not None
    assert sequences.labels.dtype == np.int64
    assert sequences.labels.tolist() == indices


def with_value(value: float, dtype: type = np.float32) -> np.ndarray:
    x = X.astype(dtype)
    x[2, 1, 1] = value
    return x


@pytest.mark.parametrize("compressed", [False, True], ids=["mapped", "compressed"])
@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"y": Y}, "no key 'x' (keys: y)"),
        ({}, "no key 'x' (keys: none)"),
        ({"x": X}, "no labels, expected y"),
        ({"x": X[0, 0], "y": Y}, "x has shape (2,), expected three axes"),
        ({"x": X[:0], "y": Y[:0]}, "x has shape (0, 3, 2): there are no sequences"),
        ({"x": X[:, :0], "y": Y}, "x has shape (4, 0, 2): there are no steps"),
        ({"x": X[:, :, :0], "y": Y}, "x has shape (4, 3, 0): there are no features"),
        ({"x": X.astype(complex), "y": Y}, "x holds complex128, expected numbers"),
        ({"x": X.astype(str), "y": Y}, "x holds <U32, expected numbers"),
        ({"x": X.astype(object), "y": Y}, "key 'x' holds Python objects"),
        ({"x": X, "y": Y.astype(object)}, "key 'y' holds Python objects"),
        ({"x": with_value(np.nan), "y": Y}, "1 values are NaN"),
        ({"x": with_value(np.nan), "y": Y}, "nan in sequence '2', step 1 (counted from 0), f"),
        ({"x": with_value(-np.inf), "y": Y}, "the first is -inf in sequence '2', step 1"),
        ({"x": with_value(1e39, np.float64), "y": Y}, "too large for float32; the first is 1e+39"),
        ({"x": X, "y": Y[:3]}, "y has shape (3,), expected (4,)"),
        ({"x": X, "y": np.ones((4, 2, 1, 1))}, "y: has shape (4, 2, 1, 1), expected (sequences,)"),
        ({"x": X, "y": [1, np.nan, 2.5, 3.5]}, "y: 1 values are NaN"),
        ({"x": X, "y": ["1", "2", "2.5", "3"]}, "y: the label of sequence '2' is '2.5'"),
        ({"x": X, "y": [1, np.nan, 2, 2]}, "y: the label of sequence '1' is nan"),
        ({"x": X, "y": ["a", "", "b", "b"]}, "y: the label of sequence '1' is ''"),
        ({"x": X, "y": [b"a", b"\xff", b"b", b"b"]}, "y: 'utf-8' codec can't decode"),
        ({"x": X, "y": Y.astype(complex)}, "y: labels of type complex128"),
        ({"x": X, "y": Y, "lengths": [1, 2, 3]}, "lengths has shape (3,), expected (4,)"),
        ({"x": X, "y": Y, "lengths": [1, 2, 4, 3]}, "lengths[2] is 4 (sequence '2'; 1 such)"),
        ({"x": X, "y": Y, "lengths": [1, 0, 0, 3]}, "lengths[1] is 0 (sequence '1'; 2 such)"),
        ({"x": X, "y": Y, "lengths": [1, 2, 3, -1]}, "lengths[3] is -1"),
        ({"x": X, "y": Y, "lengths": [1, 2, 2.5, 3]}, "lengths[2] is 2.5"),
        ({"x": X, "y": Y, "lengths": [1, 2, np.nan, 3]}, "lengths[2] is nan"),
        ({"x": X, "y": Y, "lengths": list("abcd")}, "lengths holds <U1, expected whole numbers"),
        ({"x": X, "y": Y, "class_names": ["a", "b"]}, "expected one of class_names (0, 1)"),
        ({"x": X, "y": list("abca"), "class_names": ["a", "b"]}, "'2' is 'c' (1 such), expected"),
        ({"x": X, "y": [0, 1, 0, 1], "class_names": ["a", "a"]}, "class_names has duplicates"),
        ({"x": X, "y": Y, "feature_names": ["a"]}, "feature_names has 1 names, expected 2"),
        ({"x": X, "y": Y, "feature_names": ["a", "a"]}, "feature_names has duplicates"),
        ({"x": X, "y": Y, "feature_names": [["a", "b"]]}, "holds <U1 of shape (1, 2)"),
        ({"x": X, "y": Y, "ids": ["a"]}, "ids has 1 names, expected 4"),
    ],
)  # fmt: skip
def test_wrong_npz_is_refused(
    tmp_path: Path, compressed: bool, arrays: dict[str, Any], says: str
) -> None:
    assert says in refusal(npz(tmp_path, compressed, **arrays))


def test_first_bad_value_is_found_beyond_the_first_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grulight.data.readers.checks._CHUNK", 6)
    x = with_value(np.nan)
    x[3, 0, 0] = np.inf
    message = refusal(npz(tmp_path, x=x, y=Y))
    assert "2 values" in message
    assert "sequence '2', step 1" in message


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.99])
def test_truncated_npz_is_refused(tmp_path: Path, keep: float) -> None:
    source = npz(tmp_path, x=X, y=Y)
    cut(Path(source), keep)
    assert "the archive is damaged or cut short" in refusal(source)


def member(name: str, content: bytes, folder: Path, method: int = zipfile.ZIP_STORED) -> str:
    path = folder / "data.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)
    return str(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_member_is_refused(tmp_path: Path, method: int) -> None:
    np.save(tmp_path / "x.npy", X)
    whole = (tmp_path / "x.npy").read_bytes()
    for content in (whole[:-8], whole[:20], b"", b"not an array", b"\x93NUMPY\x09\x00" + whole[8:]):
        message = refusal(member("x.npy", content, tmp_path, method))
        assert "key 'x' is damaged or cut short" in message


@pytest.mark.parametrize(("at", "damage"), [(0, b"\0\0"), (26, b"\xff\xff"), (28, b"\x07")])
def test_damaged_zip_header_is_refused(tmp_path: Path, at: int, damage: bytes) -> None:
    source = npz(tmp_path, y=Y, x=X)
    content = bytearray(Path(source).read_bytes())
    # x is the second member, so that the file still starts as a zip archive does.
    start = content.index(b"PK\x03\x04", 4) + at
    content[start : start + len(damage)] = damage
    Path(source).write_bytes(content)
    assert "key 'x' is damaged or cut short" in refusal(source)


def test_wrong_npy_is_refused(tmp_path: Path) -> None:
    path, labels = tmp_path / "x.npy", tmp_path / "labels.npy"
    np.save(path, X)
    np.save(labels, Y[:2])
    assert "no labels, expected a labels_file" in refusal(str(path))
    message = refusal(str(path), ReadOptions(labels_file=str(labels)))
    assert f"labels_file {labels} has shape (2,), expected (4,)" in message
    np.save(labels, Y.astype(object))
    message = refusal(str(path), ReadOptions(labels_file=str(labels)))
    assert f"labels_file {labels} holds Python objects" in message
    labels.write_text("1,2,3,4")
    with pytest.raises(InputError, match=r"labels\.npy: is text or an unknown format"):
        read(str(path), ReadOptions(labels_file=str(labels)))
    with pytest.raises(InputError, match=r"lost\.npy: no such file"):
        read(str(path), ReadOptions(lengths_file=str(tmp_path / "lost.npy")))
    cut(path, 0.9)
    assert "the array is damaged or cut short" in refusal(str(path), UNLABELLED)
    np.save(path, X.astype(object))
    assert "the array holds Python objects" in refusal(str(path), UNLABELLED)


# --- tables -------------------------------------------------------------------------------------

TABLE = "sequence,time,label,a,b\n"


def test_csv_sorts_by_time_and_keeps_the_order_of_first_appearance(tmp_path: Path) -> None:
    rows = "007,10,x,1,2\nB,1,y,5,6\n007,9,x,3,4\n\n"
    sequences = read(text(tmp_path, TABLE + rows))
    assert sequences.ids.tolist() == ["007", "B"]
    assert sequences.lengths.tolist() == [2, 1]
    assert sequences.feature_names == ("a", "b")
    assert sequences.class_names == ("x", "y")
    assert sequences.values.dtype == np.float32
    assert sequences.values.tolist() == [[[3, 4], [1, 2]], [[5, 6], [0, 0]]]


@pytest.mark.parametrize(
    "times",
    [
        ["10", "9"],
        ["1e1", "-2.5"],
        ["1700000000000000001", "1700000000000000000"],
        ["2024-01-31", "2024-01-30T12:00:00.5"],
        ["2024-01-31T01:00:00+01:00", "2024-01-30T23:59:00Z"],
    ],
)
def test_times_are_numbers_or_dates(tmp_path: Path, times: list[str]) -> None:
    rows = "".join(f"s,{time},x,{value},0\n" for value, time in enumerate(times))
    assert read(text(tmp_path, TABLE + rows)).values[0, :, 0].tolist() == [1, 0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_may_have_a_byte_order_mark_and_any_line_end(
    tmp_path: Path, encoding: str, end: str
) -> None:
    content = "sequence, label, größe\né, ü, 1\n".replace("\n", end).encode(encoding)
    sequences = read(text(tmp_path, content))
    assert (sequences.ids[0], sequences.class_names) == ("é", ("ü",))
    assert sequences.feature_names == ("größe",)


def test_csv_columns_can_be_named(tmp_path: Path) -> None:
    source = text(tmp_path, "who,when,what,a,b,note\ns,2,x,1,2,hm\ns,1,x,3,4,\n")
    options = ReadOptions(sequence="who", time="when", label="what", features=("b", "a"))
    sequences = read(source, options)
    assert sequences.feature_names == ("b", "a")
    assert sequences.values.tolist() == [[[4, 3], [2, 1]]]


@pytest.mark.parametrize("content", ["sequence,a\ns,1\n", "sequence,label,a\ns,,1\n"])
def test_csv_without_labels_is_read_where_none_are_needed(tmp_path: Path, content: str) -> None:
    sequences = read(text(tmp_path, content), UNLABELLED)
    assert sequences.labels is None
    assert sequences.feature_names == ("a",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("\n", "line 1: expected a header"),
        (TABLE, "has a header but no rows"),
        ("sequence,label,a,a\ns,x,1,2\n", "column 'a' twice"),
        ("sequence,,label,a\n0,s,x,1\n", "column 2 has no name"),
        ("sequence,a\ns,1\n", "no label column 'label' (columns: sequence, a)"),
        ("label,a\nx,1\n", "no sequence column 'sequence' (columns: label, a)"),
        ("sequence:label:a\ns:x:1\n", "(columns: sequence:label:a)"),
        ("sequence,time,label\ns,1,x\n", "no feature column"),
        (TABLE + "s,1,x,1,2\ns,2,x,3\n", "line 3 has 4 cells, expected 5"),
        (TABLE + "s,1,x,1,2\n\ns,2,x,3,4,5\n", "line 4 has 6 cells, expected 5"),
        (TABLE + "s,1,x,1,2\ns,2,x,3,four\n", "line 3, column 'b': 'four' is not a number"),
        (TABLE + "s,1,x,1,2\ns,2,x,1_000,4\n", "line 3, column 'a': '1_000' is not a number"),
        (TABLE + "s,1,x,1,2\ns,2,x,,4\n", "line 3, column 'a': empty cell"),
        (TABLE + "s,1,x,1,2\n,2,x,3,4\n", "line 3, column 'sequence': empty cell"),
        (TABLE + "s,1,x,1,2\ns,2,,3,4\n", "line 3, column 'label': empty cell"),
        (TABLE + "s,1,x,1,2\ns,2,y,3,4\n", "line 3, column 'label': label 'y', but seq"),
        (TABLE + "s,1,x,1,2\nt,1,x,1,2\ns,1,x,3,4\n", "line 4: the time is the same as on line 2"),
        (TABLE + "s,1,x,1,2\ns,1.0,x,3,4\n", "line 3: the time is the same as on line 2, in"),
        (TABLE + "s,1,x,1,2\ns,soon,x,3,4\n", "line 3: time 'soon', expected a number"),
        (TABLE + "s,nan,x,1,2\n", "line 2: time 'nan', expected"),
        (TABLE + "s,,x,1,2\n", "line 2: time '', expected"),
        (TABLE + "s,2024-01-01,x,1,2\ns,2024-01-01T00:00Z,x,3,4\n", "line 3: time '2024"),
        (TABLE + "s,1,x,1,nan\ns,2,x,inf,4\n", "2 cells are NaN, infinite or too large"),
        (TABLE + "s,1,x,1,2\ns,2,x,1e39,4\n", "the first is on line 3, column 'a'"),
        (TABLE + "s,1,0.5,1,2\n", "column 'label': the label of sequence 's' is '0.5'"),
        (TABLE + 's,1,x,1,"2\n', "unexpected end of data"),
        (TABLE + 's,1,x,1,"2"3\n', "line 2: ',' expected after '\"'"),
        (TABLE + "s,1,x,1,2\ns,2,x\0,3,4\n", "line 3 holds a NUL byte"),
        (TABLE.encode() + b"s,1,x,1,2\ns,2,\xff,3,4\n", "line 3 is not UTF-8"),
        (b"\xff" + TABLE.encode(), "line 1 is not UTF-8"),
        ('sequence,label,"a\nb"\ns,x,oh\n', "line 3, column 'a\\nb': 'oh' is not a number"),
        (b"PK\x03\x04rest of a zip", "is a zip archive, but a .csv file is text"),
    ],
)  # fmt: skip
def test_wrong_csv_is_refused(tmp_path: Path, content: str | bytes, says: str) -> None:
    assert says in refusal(text(tmp_path, content))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (ReadOptions(features=("a", "c")), "no feature column 'c' (columns: sequence, time"),
        (ReadOptions(features=("a", "label")), "column 'label' cannot be a feature as well"),
        (ReadOptions(features=("a", "sequence")), "column 'sequence' cannot be a feature"),
        (ReadOptions(features=("a", "a")), "feature_names has duplicates: a, a"),
        (ReadOptions(time="when"), "no time column 'when'"),
        (ReadOptions(label=None), "no labels, expected a label column"),
        (ReadOptions(labels_file="l.npy"), "labels_file l.npy is only for a .npy source"),
        (ReadOptions(part="test"), "has no test part of its own"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, options: ReadOptions, says: str
) -> None:
    assert says in refusal(text(tmp_path, TABLE + "s,1,3,1,2\n"), options)


SOURCES = ["waves", "a.npz", "a.npy", "a.ts", "packed", "a.csv", "a.parquet"]
NO_EFFECT = {
    "label": ("target", (".csv", ".parquet")),
    "sequence": ("case", (".csv", ".parquet")),
    "time": ("when", (".csv", ".parquet")),
    "features": (("a", "b"), (".csv", ".parquet")),
    "labels_file": ("l.npy", (".npy",)),
    "lengths_file": ("l.npy", (".npy",)),
}


@pytest.fixture
def source_of_each_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", x=np.ones((4, 3, 2)), y=np.arange(4))
    np.save("a.npy", np.ones((4, 3, 2)))
    Path("a.ts").write_text("@problemName a\n@classLabel true a b\n@data\n1,2:a\n3,4:b\n")
    Path("a.csv").write_text(TABLE)
    Path("a.parquet").write_bytes(b"PAR1")
    assert main(["pack", "waves", "-o", "packed"]) == 0


@pytest.mark.usefixtures("source_of_each_kind")
@pytest.mark.parametrize("option", NO_EFFECT)
def test_options_without_effect_on_a_source_are_refused(option: str) -> None:
    value, kinds = NO_EFFECT[option]
    options = ReadOptions(**{option: value})
    for source in SOURCES:
        said = f"{option} {', '.join(value) if isinstance(value, tuple) else value} is only for"
        if source.endswith(kinds):
            with pytest.raises(InputError) as refusal:
                read(source, options)
            assert said not in str(refusal.value)  # it is read, and something is missing
        else:
            with pytest.raises(InputError, match=said):
                read(source, options)


@pytest.mark.usefixtures("source_of_each_kind")
def test_options_without_effect_are_refused_by_commands_too() -> None:
    assert main(["pack", "a.npz", "-o", "p", "--label", "target"]) == 2
    assert main(["fit", "--data.source", "a.npz", "--data.time", "when"]) == 2


def test_columns_are_those_of_the_table_beside_another_source(tmp_path: Path) -> None:
    rows = "".join(f"s{n},{t},{n % 2},{t + n},1\n" for n in range(6) for t in range(3))
    (tmp_path / "a.csv").write_text(f"sequence,time,target,feature_0,feature_1\n{rows}")
    np.savez(tmp_path / "b.npz", x=np.ones((4, 3, 2)), y=np.array([0, 1, 0, 1]))
    for one, other in (("a.csv", "b.npz"), ("b.npz", "a.csv")):
        both = str(tmp_path / one), str(tmp_path / other)
        parts = SequenceDataModule(*both, label="target").parts
        assert {len(parts.train), len(parts.test)} == {4, 6}
    with pytest.raises(InputError, match=r"label target is only for"):
        SequenceDataModule(str(tmp_path / "b.npz"), label="target").parts  # noqa: B018


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
    lambda name: name == name.strip()
)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cases=st.dictionaries(
        NAMES,
        st.tuples(NAMES, st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=5)),
        min_size=1,
        max_size=5,
    ),
    shuffle=st.randoms(use_true_random=False),
)
def test_csv_round_trip(tmp_path: Path, cases: dict[str, Any], shuffle: Random) -> None:
    import csv

    rows = [
        (name, step, f"c{label}", repr(a), repr(b))
        for name, (label, values) in cases.items()
        for step, (a, b) in enumerate(values)
    ]
    shuffle.shuffle(rows)
    with open(tmp_path / "data.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([TABLE.strip().split(","), *rows])
    sequences = read(str(tmp_path / "data.csv"))
    assert sequences.labels is not None
    assert sequences.ids.tolist() == list(dict.fromkeys(row[0] for row in rows))
    for i, name in enumerate(sequences.ids.tolist()):
        label, values = cases[name]
        assert sequences.class_names[sequences.labels[i]] == f"c{label}"
        ours = sequences.values[i, : sequences.lengths[i]]
        np.testing.assert_array_equal(ours, np.array(values, dtype=np.float32))
        assert (sequences.values[i, sequences.lengths[i] :] == 0).all()


COLUMNS: dict[str, Any] = {
    "sequence": [7, 7, 8],
    "time": [2, 1, 1],
    "label": ["x", "x", "y"],
    "a": [1.0, 2.0, 3.0],
    "b": [1, 2, 3],
    "c": [True, False, True],
}


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    sequences = read(parquet(tmp_path, **COLUMNS))
    assert sequences.ids.tolist() == ["7", "8"]
    assert sequences.class_names == ("x", "y")
    assert sequences.feature_names == ("a", "b", "c")
    assert sequences.values.tolist() == [[[2, 2, 0], [1, 1, 1]], [[3, 3, 1], [0, 0, 0]]]


def test_parquet_types_are_understood(tmp_path: Path) -> None:
    import pyarrow as pa

    columns = COLUMNS | {
        "sequence": pa.array(["é", "é", "ü"]).dictionary_encode(),
        "time": pa.array([2, 1, 1], pa.timestamp("ns")),
        "label": pa.array([1.0, 1.0, 2.0]),
        "a": pa.array([1, 2, 3], pa.decimal128(5, 2)),
        "b": pa.array(np.array([1, 2, 3], dtype=np.float16)),
    }
    sequences = read(parquet(tmp_path, **columns))
    assert sequences.ids.tolist() == ["é", "ü"]
    assert sequences.class_names == ("1", "2")
    assert sequences.values[0].tolist() == [[2, 2, 0], [1, 1, 1]]
    columns["time"] = ["2024-01-02", "2024-01-01", "2024-01-01"]
    assert read(parquet(tmp_path, **columns)).values[0].tolist() == [[2, 2, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"a": [1.0, None, 2.0]}, "row 2, column 'a': empty cell (1 such)"),
        ({"a": [1.0, 2.0, np.inf]}, "the first is on row 3, column 'a'"),
        ({"a": ["1", "2", "3"]}, "column 'a' holds string, expected numbers"),
        ({"sequence": [7, None, 7]}, "row 2, column 'sequence': empty cell"),
        ({"sequence": [[1], [2], [3]]}, "column 'sequence' holds list"),
        ({"label": ["x", "y", "y"]}, "row 2, column 'label': label 'y', but sequence '7' has 'x'"),
        ({"label": ["x", "x", None]}, "row 3, column 'label': empty cell"),
        ({"time": [1, 1, 1]}, "row 2: the time is the same as on row 1"),
        ({"time": [1, None, 1]}, "row 2, column 'time': empty cell"),
        ({"time": [1.0, np.nan, 1]}, "column 'time' holds double, expected finite"),
        ({"time": [[1], [1], [1]]}, "column 'time' holds list"),
        ({key: [] for key in COLUMNS}, "has columns but no rows"),
    ],
)
def test_wrong_parquet_is_refused(tmp_path: Path, columns: dict[str, Any], says: str) -> None:
    assert says in refusal(parquet(tmp_path, **(COLUMNS | columns)))


def test_parquet_without_a_label_column_is_refused(tmp_path: Path) -> None:
    source = parquet(tmp_path, sequence=[1], a=[1.0])
    assert "no label column 'label' (columns: sequence, a)" in refusal(source)
    assert read(source, UNLABELLED).labels is None


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    source = parquet(tmp_path, **COLUMNS)
    cut(Path(source), 0.8)
    assert "is damaged or cut short" in refusal(source)


# --- archives -----------------------------------------------------------------------------------

HEADER = "@univariate false\n@equalLength false\n@classLabel true A Banana\n@data\n"


@pytest.mark.parametrize(("part", "count", "longest"), [("train", 270, 26), ("test", 370, 29)])
def test_japanese_vowels_ship_with_aeon(
    part: Literal["train", "test"], count: int, longest: int
) -> None:
    sequences = read("aeon:JapaneseVowels", ReadOptions(part=part))
    assert sequences.values.shape == (count, longest, 12)
    assert (sequences.lengths.min(), sequences.lengths.max()) == (7, longest)
    assert sequences.class_names == tuple("123456789")


def test_basic_motions_ship_with_aeon() -> None:
    sequences = read("aeon:BasicMotions")
    assert sequences.values.shape == (40, 100, 6)
    assert sequences.class_names == ("badminton", "running", "standing", "walking")


def test_aeon_looks_on_disk_and_never_on_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        pytest.fail("a socket was opened")

    monkeypatch.setattr("socket.socket", no_network)
    home = tmp_path / "aeon_data"
    monkeypatch.setenv("AEON_DATA", str(home))
    message = refusal("aeon:Handwriting")
    assert "BasicMotions" in message
    assert "JapaneseVowels" in message
    assert "Covid3Month," not in message
    assert str(home) in message
    assert not home.exists()
    (home / "Handwriting").mkdir(parents=True)
    text(home / "Handwriting", HEADER + "1,2:3,4:a\n", "Handwriting_TEST.ts")
    assert len(read("aeon:Handwriting", ReadOptions(part="test"))) == 1
    assert "(train part)" in refusal("aeon:Handwriting")
    assert "no data set of this name" in refusal("aeon:../Handwriting/Handwriting")
    assert "no data set of this name" in refusal("aeon:")


def test_ts_is_transposed_and_padded(tmp_path: Path) -> None:
    sequences = read(text(tmp_path, HEADER + "1,2:3,4:Banana\n5:6:A\n", "data.ts"))
    assert sequences.values.tolist() == [[[1, 3], [2, 4]], [[5, 6], [0, 0]]]
    assert sequences.lengths.tolist() == [2, 1]
    assert sequences.class_names == ("a", "banana")


def test_ts_without_labels_is_read_where_none_are_needed(tmp_path: Path) -> None:
    source = text(tmp_path, "@classLabel false\n@data\n1,2\n3,4\n", "data.ts")
    assert read(source, UNLABELLED).values.tolist() == [[[1], [2]], [[3], [4]]]
    assert "no labels, expected @classLabel" in refusal(source)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("hello\n", "no @data line"),
        (b"\xff\xfe", "is not UTF-8 text"),
        ("@data\n1,2:a\n", "no @classLabel line"),
        ("@timeStamps true\n" + HEADER + "(0,1.5),7:a\n", "line 6: ',7' is no (time stamp,value)"),
        ("@timeStamps true\n" + HEADER + "(0,1.5):(1,2):a\n", "line 6: dimension 1 has other"),
        ("@timeStamps true\n" + HEADER + "(0,1),(0,2):a\n", "line 6: the time stamp '0' is there"),
        ("@timeStamps true\n" + HEADER + "(0,1):(0,2):a\n(0,1):a\n", "has 1 dimensions, expected"),
        ("@targetLabel true\n@data\n1,2:nan\n", "@targetLabel: 1 values are NaN"),
        (HEADER, "has no sequences"),
        (HEADER + "1,2:3,4:a\n1,2:3,x:a\n", "line 6, dimension 1: 'x' is not a number"),
        (HEADER + "1,2:3:a\n", "in case 1 has a different number of observations"),
        (HEADER + "1,2:3,4:a\n1,2:a\n", "Inconsistent number of dimensions in case 2"),
        (HEADER + "1,2:3,4:a\n1,?:3,4:a\n", "1 values are NaN, infinite or too large for float32"),
        (b"PK\x03\x04rest of a zip", "is a zip archive, but a .ts file is text"),
    ],
)
def test_wrong_ts_is_refused(tmp_path: Path, content: str | bytes, says: str) -> None:
    assert says in refusal(text(tmp_path, content, "data.ts"))


# --- sources ------------------------------------------------------------------------------------


def test_only_archives_bring_a_test_part() -> None:
    assert has_test_part("aeon:JapaneseVowels")
    assert not has_test_part("waves")
    assert not has_test_part("data.csv")


@pytest.mark.parametrize("source", ["", "wave", "data.txt", "Waves", "aeon", "a\nb"])
def test_unknown_source_is_refused_with_the_choices(source: str) -> None:
    with pytest.raises(InputError, match=r"waves, aeon:NAME .* \.npz, \.npy, \.csv"):
        read(source)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv", ".parquet", ".ts"])
def test_missing_empty_and_directory_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    assert "no such file" in refusal(str(path))
    path.touch()
    assert "is empty" in refusal(str(path))
    path.unlink()
    path.mkdir()
    assert "is a directory" in refusal(str(path))


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".parquet"])
def test_text_under_a_binary_name_is_refused(tmp_path: Path, suffix: str) -> None:
    message = refusal(text(tmp_path, TABLE, f"data{suffix}"))
    assert f"is text or an unknown format, but a {suffix} file is a" in message


def test_unreadable_path_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    assert "no such file" in refusal(str(loop))
    # what cannot be printed is escaped, and no name makes a line of more than 500 characters
    for name, shown in (("x" * 5000 + ".csv", "x" * 100), ("a\0.csv", r"a\x00.csv: no such")):
        with pytest.raises(InputError, match="no such file") as caught:
            read(name)
        assert str(caught.value).startswith(shown)
        assert len(str(caught.value)) <= 500


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aeon.datasets", None)
    message = refusal(text(tmp_path, HEADER, "data.ts"))
    assert "pip install 'grulight[data]'" in message
    assert "aeon" in message


def test_two_axes_are_one_feature(tmp_path: Path) -> None:
    np.savez(tmp_path / "ids.npz", x=np.arange(12).reshape(4, 3), y=[0, 1, 0, 1])
    np.save(tmp_path / "ids.npy", np.arange(12).reshape(4, 3))
    for name in ("ids.npz", "ids.npy"):
        found = read(str(tmp_path / name), ReadOptions(require_labels=False))
        assert found.values.shape == (4, 3, 1)
        assert found.values[1, :, 0].tolist() == [3, 4, 5]
