"""Data files from anywhere: refused in one line, or read in memory that was asked for before."""

import contextlib
import gzip
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from grulight.commands.pack import packed
from grulight.data.readers import ReadOptions, memory, names, read
from grulight.errors import MAX_LINE, InputError

X = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
Y = np.array([0, 1, 0, 1])
UNLABELLED = ReadOptions(require_labels=False)
HEADER = "sequence,label,f\n"
TS = "@problemName a\n@univariate true\n@equalLength false\n@classLabel true a b\n@data\n"


def refusal(source: str | Path, options: ReadOptions = ReadOptions()) -> str:  # noqa: B008  # frozen
    with pytest.raises(InputError) as caught:
        read(str(source), options)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) <= MAX_LINE
    return message


def npy(description: str, shape: str, content: bytes = b"") -> bytes:
    """Return a .npy file whose header says what it likes."""
    header = f"{{'descr': {description}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content


def archive(path: Path, **members: npt.ArrayLike | bytes) -> Path:
    """Write a .npz whose members are arrays, or bytes as they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for key, member in members.items():
            with file.open(f"{key}.npy", "w") as stream:
                if isinstance(member, bytes):
                    stream.write(member)
                else:
                    np.lib.format.write_array(stream, np.asarray(member))
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def parquet(path: Path, **columns: object) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 2_000_000)


# --- text ---------------------------------------------------------------------------------------

HALF = "\ud800"
BEYOND = np.frombuffer(np.array([1, 0x110000, 5, 2**32 - 1], "<u4").tobytes(), "<U1")


@pytest.mark.parametrize("key", ["y", "ids", "class_names", "feature_names"])
def test_what_is_no_character_is_refused_in_every_array(tmp_path: Path, key: str) -> None:
    count = {"class_names": 2, "feature_names": 2}.get(key, 4)
    halves = np.array(["a", HALF, "b", "c"])[:count]
    for texts, expected in ((halves, "0xD800"), (BEYOND[:count], "0x110000")):
        file = archive(tmp_path / "a.npz", **{"x": X, "y": Y, key: texts})
        message = refusal(file)
        assert f"key '{key}': text 1 (counted from 0)" in message
        assert expected in message


def test_what_is_no_character_is_refused_in_a_labels_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    labels = tmp_path / "y.npy"
    np.save(labels, np.array(["a", HALF, "a", "b"]).astype(">U1"))
    assert "0xD800" in refusal(tmp_path / "x.npy", ReadOptions(labels_file=str(labels)))


def test_what_is_no_character_is_refused_in_a_packed_directory(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    directory = tmp_path / "packed"
    packed(str(tmp_path / "a.npz"), directory, ReadOptions(), Console())
    whole = np.load(directory / "ids.npy")
    np.save(directory / "ids.npy", np.array([HALF, *whole[1:]]))
    assert "ids.npy: ids: text 0" in refusal(directory)
    np.save(directory / "ids.npy", whole)
    index = directory / "index.json"
    index.write_text(index.read_text().replace('"feature_0"', r'"\ud800"'))
    assert "feature_names: text 0" in refusal(directory)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_long_text_that_would_widen_all_others_is_refused(tmp_path: Path, column: int) -> None:
    cells = ["a", "x", "1"] if column < 2 else ["sequence", "label", "f"]
    cells[column] = "n" * (names.LONGEST + 1)
    lines = ["sequence,label,f", ",".join(cells)] if column < 2 else [",".join(cells)]
    file = text(tmp_path / "a.csv", "\n".join([*lines, "b,y,1", "c,x,2", ""]))
    assert "has room for 1,001 characters, expected names of at most 1,000" in refusal(file)
    with pytest.raises(InputError, match="names of at most 1,000"):
        packed(str(file), tmp_path / "packed", ReadOptions(), Console())


# --- NumPy headers ------------------------------------------------------------------------------

SHAPES = {
    "axis_beyond_64_bits": ("'<f4'", f"(0, {10**30}, 2)"),
    "negative": ("'<f4'", "(-1, -2, 3)"),
    "huge": ("'<f4'", "(4000000000, 1000, 100)"),
    "fraction": ("'<f4'", "(1.5, 2, 3)"),
    "many_axes": ("'<f4'", f"({'1,' * 70})"),
    "brackets": ("'<f4'", "(" * 300 + ")" * 300),
    "operators": ("'<f4'", "-" * 9000 + "1"),
    "power": ("'<f4'", "(1,) * 999999999"),
    "objects": ("'|O'", "(4, 3, 2)"),
    "fields": ("[('a', '<f4')]", "(4, 3, 2)"),
    "wide_text": ("'<U99999999999'", "(4, 3, 2)"),
}


@pytest.mark.parametrize(("description", "shape"), SHAPES.values(), ids=SHAPES)
def test_a_header_that_promises_anything_is_refused(
    tmp_path: Path, description: str, shape: str
) -> None:
    content = npy(description, shape, bytes(96))
    (tmp_path / "a.npy").write_bytes(content)
    np.save(tmp_path / "x.npy", X)
    refusal(tmp_path / "a.npy", UNLABELLED)
    refusal(archive(tmp_path / "a.npz", x=content), UNLABELLED)
    for key in ("y", "lengths", "ids"):
        refusal(archive(tmp_path / "a.npz", **{"x": X, "y": Y, key: content}))
    refusal(tmp_path / "x.npy", ReadOptions(labels_file=str(tmp_path / "a.npy")))


def test_a_header_is_not_read_before_its_length_is_known(tmp_path: Path) -> None:
    content = b"\x93NUMPY\2\0" + struct.pack("<I", 10**7) + b" " * 10**7
    message = refusal(archive(tmp_path / "a.npz", x=content), UNLABELLED)
    assert "a header of 10,000,000 bytes, expected at most 10,000" in message


# --- sizes --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("key", ["x", "y", "ids"])
def test_an_array_is_not_unpacked_beyond_the_memory(tmp_path: Path, key: str) -> None:
    large: dict[str, npt.ArrayLike] = {
        "x": np.zeros((4, 100_000, 2), np.float32),
        "y": np.zeros((4, 100_000)),
        "ids": np.array([str(row).zfill(999) for row in range(400)]),
    }
    file = archive(tmp_path / "a.npz", **{"x": X, "y": Y, key: large[key]})
    message = refusal(file)
    assert f"key '{key}' would take" in message
    assert "of memory; expected at most half of the 0.0 GB that are free" in message


@pytest.mark.usefixtures("little_memory")
def test_padding_is_computed_before_it_is_allocated(tmp_path: Path) -> None:
    rows = [*["long,0,1"] * 600, *(f"{row},1,1" for row in range(600))]
    table = text(tmp_path / "a.csv", HEADER + "\n".join(rows))
    message = refusal(table)
    assert "padding 601 sequences to 600 steps would take" in message
    assert "grulight pack" in message
    packed(str(table), tmp_path / "packed", ReadOptions(), Console())
    assert read(str(tmp_path / "packed")).values.shape == (601, 600, 1)
    series = text(tmp_path / "a.ts", TS + "1," * 600 + "1:a\n" + "1:b\n" * 600)
    assert "padding 601 sequences to 601 steps would take" in refusal(series)


@pytest.mark.usefixtures("little_memory")
def test_equal_rows_of_a_table_count_before_they_are_read(tmp_path: Path) -> None:
    rows = 100_000
    columns = {"sequence": ["a"] * rows, "label": ["x"] * rows, "f": np.zeros(rows, np.float32)}
    file = parquet(tmp_path / "a.parquet", **columns)
    assert file.stat().st_size < 10_000
    message = refusal(file)
    assert "100,000 rows of 1 features would take" in message
    assert "grulight pack" in message


@pytest.mark.usefixtures("little_memory")
def test_rows_of_a_compressed_table_count_while_they_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress((HEADER + "a,x,1\n" * 300_000).encode()))
    assert file.stat().st_size < 10_000
    assert "rows of 1 features would take" in refusal(file)


def test_memory_that_is_short_all_the_same_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 3.00 GiB")

    monkeypatch.setattr("grulight.data.readers.long_table.gathered", fail)
    monkeypatch.setattr("grulight.data.readers.streaming.gathered", fail)
    table = text(tmp_path / "a.csv", HEADER + "a,0,1\nb,1,1\n")
    assert "needs more memory than there is (Unable to allocate 3.00 GiB)" in refusal(table)
    with pytest.raises(InputError, match="needs more memory than there is"):
        packed(str(table), tmp_path / "packed", ReadOptions(), Console())
    assert not (tmp_path / "packed").exists()


def test_a_limit_of_a_container_or_a_job_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, taken, kept = 8_000_000, 5_000_000, 1_000_000
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{taken}\n")
    stat = f"anon 1\nactive_file {kept}\ninactive_file {kept}\n"
    (tmp_path / "memory.stat").write_text(stat)
    assert memory.free_memory() > limit
    files = ("memory.max", "memory.current", "")
    groups = {key: (str(tmp_path), *files) for key in ("", "memory")}
    monkeypatch.setattr(memory, "_GROUPS", groups)
    assert memory.free_memory() == limit - taken + 2 * kept


def test_equal_texts_of_a_parquet_file_are_held_once(tmp_path: Path) -> None:
    """Its dictionary has entries that are not used, twice, and in another order."""
    import pyarrow as pa

    written = pa.DictionaryArray.from_arrays(
        pa.array([3, 1, 0, 3, 1, None][:5]), pa.array(["b", "a", "c", "d"])
    )
    labels = pa.array([1, 0, 1, 1, 0], pa.int8())
    times = pa.array(["2024-01-02", "2024-01-01", "2024-01-01", "2024-01-01", "2024-01-02"])
    columns = {"sequence": written, "label": labels, "time": times, "f": np.arange(5.0)}
    sequences = read(str(parquet(tmp_path / "a.parquet", **columns)))
    assert sequences.ids.tolist() == ["d", "a", "b"]
    assert sequences.class_names == ("0", "1")
    np.testing.assert_array_equal(sequences.values[:, :, 0], [[3, 0], [1, 4], [2, 0]])


# --- what is no file of its kind ----------------------------------------------------------------


def test_what_would_never_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", X)
    for suffix in (".csv", ".npy", ".npz", ".ts", ".parquet"):
        pipe, zeros, folder = (tmp_path / f"{name}{suffix}" for name in ("pipe", "zeros", "folder"))
        os.mkfifo(pipe)
        zeros.symlink_to("/dev/zero")
        folder.mkdir()
        for source, expected in ((pipe, "regular"), (zeros, "regular"), (folder, "a directory")):
            assert f"{source}: is" in refusal(source)
            assert expected in refusal(source)
            if suffix == ".npy":
                assert expected in refusal(tmp_path / "x.npy", ReadOptions(labels_file=str(source)))
    monkeypatch.setattr("grulight.data.readers.text_file.LONGEST_LINE", 1 << 10)
    endless = text(tmp_path / "a.csv", HEADER + "a" * (1 << 12))
    assert "line 2 has more than 1,024 characters" in refusal(endless)


@pytest.mark.usefixtures("little_memory")
def test_a_sparse_file_of_any_size_is_refused(tmp_path: Path) -> None:
    for name, start in (("a.ts", TS), ("a.csv", HEADER + "a")):
        path = text(tmp_path / name, start)
        os.truncate(path, 1 << 40)
        refusal(path)


# --- fuzz ---------------------------------------------------------------------------------------

CELLS = st.one_of(
    st.sampled_from(
        ["", "0", "1", "a", '"', '""', "\0", "1e999", "nan", "-1", "1_0", "2024-01-01"]
    ),
    st.text(max_size=4),
)
ROWS = st.lists(st.lists(CELLS, max_size=5), max_size=6)


def survives(path: Path) -> None:
    for options in (ReadOptions(), UNLABELLED):
        message = ""
        with contextlib.suppress(InputError):
            sequences = read(str(path), options)
            message = "".join([*sequences.ids, *sequences.class_names])
            assert np.isfinite(sequences.values).all()
        message.encode()


def csv_or_series(path: Path, rows: list[list[str]], comma: str) -> None:
    lines = "\n".join(comma.join(row) for row in rows).encode("utf-8", "surrogatepass")
    (path / "a.csv").write_bytes(b"sequence,time,label,f\n" + lines)
    (path / "b.csv").write_bytes(lines)
    (path / "a.ts").write_bytes(TS.encode() + lines)
    for name in ("a.csv", "b.csv", "a.ts"):
        survives(path / name)


def changed_bytes(path: Path, changes: list[tuple[int, int]], cut: int) -> None:
    np.savez(path / "whole.npz", x=X, y=np.array(["a", "b"])[Y], ids=list("abcd"))
    columns = {"sequence": list("aabb"), "label": list("xxyy"), "f": [1.0, 2.0, 3.0, 4.0]}
    parquet(path / "whole.parquet", **columns)
    for suffix in (".npz", ".parquet"):
        content = bytearray((path / f"whole{suffix}").read_bytes())
        for at, byte in changes:
            content[at % len(content)] = byte
        (path / f"a{suffix}").write_bytes(content[: len(content) - cut] or b"\0")
        survives(path / f"a{suffix}")


CHANGES = st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(0, 255)), max_size=4)
CUTS = st.one_of(st.just(0), st.integers(0, 300))
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def fuzz(examples: int, path: Path) -> None:
    limits = settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=HEALTH
    )

    @limits
    @given(rows=ROWS, comma=st.sampled_from([",", ":", ";"]))
    def of_text(rows: list[list[str]], comma: str) -> None:
        csv_or_series(path, rows, comma)

    @limits
    @given(changes=CHANGES, cut=CUTS)
    def of_bytes(changes: list[tuple[int, int]], cut: int) -> None:
        changed_bytes(path, changes, cut)

    of_text()
    of_bytes()


def test_no_structure_of_a_file_crashes_a_reader(tmp_path: Path) -> None:
    fuzz(40, tmp_path)


@pytest.mark.slow
def test_no_structure_of_a_file_crashes_a_reader_in_many_tries(tmp_path: Path) -> None:
    fuzz(10_000, tmp_path)
