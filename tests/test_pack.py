import errno
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from grulight.cli import main
from grulight.data.batches import Batches, shuffled
from grulight.data.lazy_values import StoredValues
from grulight.data.readers import ReadOptions, pack_writer, read, streaming
from grulight.data.readers.growing_npy import GrowingNpy
from grulight.data.readers.streaming import Block
from grulight.data.readers.targets import Wish
from grulight.data.sequences import Sequences
from grulight.data.statistics import feature_statistics
from grulight.errors import InputError


def table(folder: Path, count: int = 60, *, shuffle_time: bool = True) -> Path:
    """Write sequences of 1 to 9 steps in three classes."""
    generator = np.random.default_rng(0)
    lines = ["sequence,time,label,u,v"]
    for sequence in range(count):
        length = int(generator.integers(1, 10))
        steps = generator.permutation(length) if shuffle_time else np.arange(length)
        for step in steps:
            u, v = generator.normal(size=2)
            lines.append(f"s{sequence},{step},{('up', 'down', 'still')[sequence % 3]},{u},{v}")
    path = folder / "data.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def as_parquet(path: Path) -> Path:
    from pyarrow import csv, parquet

    target = path.with_suffix(".parquet")
    parquet.write_table(csv.read_csv(path), target, row_group_size=50)
    return target


def archive(folder: Path, *, compressed: bool) -> Path:
    generator = np.random.default_rng(0)
    path = folder / "data.npz"
    (np.savez_compressed if compressed else np.savez)(
        path,
        x=generator.normal(size=(40, 7, 3)),
        y=generator.integers(0, 3, 40),
        lengths=generator.integers(1, 8, 40),
    )
    return path


@pytest.fixture
def _in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that is done piece by piece take several pieces."""
    monkeypatch.setattr("grulight.data.readers.text_file._BLOCK", 200)
    monkeypatch.setattr("grulight.data.readers.parquet_table._BATCH", 7)
    monkeypatch.setattr(streaming, "_ROWS", 20)
    monkeypatch.setattr(streaming, "_VALUES", 50)
    monkeypatch.setattr(streaming, "_REMEMBERED", 5)
    monkeypatch.setattr(pack_writer, "_SHARD", 400)
    monkeypatch.setattr(pack_writer, "_CHUNK", 9)
    monkeypatch.setattr("grulight.data.readers.growing_npy._CHUNK", 9)


def packed(source: Path | str, folder: Path, *arguments: str) -> Path:
    target = folder / "packed"
    assert main(["pack", str(source), "-o", str(target), *arguments]) == 0
    return target


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line that a command which leaves nothing behind ends in."""
    before = set(Path().rglob("*"))
    capsys.readouterr()
    assert main(["pack", *map(str, arguments)]) == 2
    assert set(Path().rglob("*")) == before
    [line] = capsys.readouterr().err.splitlines()
    return line


def padded(sequences: Sequences) -> np.ndarray:
    values = np.array(sequences.values, np.float32)
    values[np.arange(values.shape[1]) >= sequences.lengths[:, None]] = 0
    return values


@pytest.mark.usefixtures("_in_small_pieces")
@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "compressed", "waves", "aeon"])
def test_a_packed_source_is_what_was_read(tmp_path: Path, kind: str) -> None:
    source = {
        "csv": lambda: str(table(tmp_path)),
        "parquet": lambda: str(as_parquet(table(tmp_path))),
        "npz": lambda: str(archive(tmp_path, compressed=False)),
        "compressed": lambda: str(archive(tmp_path, compressed=True)),
        "waves": lambda: "waves",
        "aeon": lambda: "aeon:JapaneseVowels",
    }[kind]()
    ours, theirs = read(str(packed(source, tmp_path))), read(source)
    assert isinstance(ours.values, StoredValues)
    assert ours.class_names == theirs.class_names
    assert ours.feature_names == theirs.feature_names
    np.testing.assert_array_equal(ours.lengths, theirs.lengths)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_array_equal(np.asarray(ours.values), padded(theirs))


@pytest.mark.usefixtures("_in_small_pieces")
def test_batches_and_parts_of_packed_data_equal_those_in_memory(tmp_path: Path) -> None:
    source = table(tmp_path)
    ours, theirs = read(str(packed(source, tmp_path))), read(str(source))
    assert len(list((tmp_path / "packed").glob("values-*.npy"))) > 2
    for start, stop in ((0, 60), (7, 48), (59, 60)):
        parts = ours.part(start, stop), theirs.part(start, stop)
        for order in (None, lambda epoch: shuffled(stop - start, 3, epoch)):  # noqa: B023
            batches = (Batches(part, 8, order) for part in parts)
            for mine, other in zip(*batches, strict=True):
                np.testing.assert_array_equal(mine.values, other.values)
                np.testing.assert_array_equal(mine.labels, other.labels)
        for mine, other in zip(*map(feature_statistics, parts), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_a_part_of_packed_data_reads_nothing(tmp_path: Path) -> None:
    sequences = read(str(packed("waves", tmp_path)))
    (tmp_path / "packed" / "values-00000.npy").write_bytes(b"")  # the mapping is now void
    part = sequences.part(10, 900).part(5, 50)
    assert part.values.shape == (45, 10, 5)
    assert len(part.values) == 45


def test_positions_outside_a_part_are_refused(tmp_path: Path) -> None:
    part = read(str(packed("waves", tmp_path))).part(0, 10)
    with pytest.raises(IndexError, match="sequences 3 to 10, there are 10"):
        part.values[np.array([3, 10]), :5]
    assert part.values[np.array([], int), :5].shape == (0, 5, 5)
    np.testing.assert_array_equal(part.values[2:9:3, 1:7], np.asarray(part.values)[2:9:3, 1:7])


def test_training_on_packed_data_is_training_on_the_source(tmp_path: Path) -> None:
    source = packed("waves", tmp_path)
    logs = []
    for each in ("waves", str(source)):
        common = ["--seed_everything", "3", "--trainer.max_epochs", "1", "--data.val_size", "0.1"]
        folder = tmp_path / f"run{len(logs)}"
        root = ["--trainer.default_root_dir", str(folder)]
        assert main(["fit", "--data.source", each, *common, *root]) == 0
        logs.append((folder / "lightning_logs/version_0/metrics.csv").read_text().splitlines())
    ours, theirs = ([line for line in log if "train_loss" not in line] for log in logs)
    assert len(ours) == len(theirs)
    names = logs[0][0].split(",")
    timed = [i for i, name in enumerate(names) if "second" in name or "wait" in name]
    for mine, other in zip(ours, theirs, strict=True):
        cells = zip(mine.split(","), other.split(","), strict=True)
        assert all(a == b for i, (a, b) in enumerate(cells) if i not in timed)


@pytest.mark.usefixtures("_in_small_pieces")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("options", "wish", "words"),
    [
        (("--per-step",), Wish(per_step=True), "4 classes per step"),
        (("--targets", "values"), Wish("values"), "1 value"),
        (("--targets", "values", "--per-step"), Wish("values", True), "1 value per step"),
    ],
)
def test_values_and_labels_per_step_of_tables_are_packed_as_such(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    options: tuple[str, ...],
    wish: Wish,
    words: str,
) -> None:
    path = table(tmp_path)
    header, *rows = path.read_text().splitlines()
    # whole numbers that sort otherwise as text and than they appear
    for at, row in enumerate(rows):
        sequence, time, _, *features = row.split(",")
        label = at if wish.per_step else int(sequence[1:])
        rows[at] = ",".join([sequence, time, ("20", "3", "100", "-1")[label % 4], *features])
    path.write_text("\n".join([header, *rows]) + "\n")
    source = str(path if kind == "csv" else as_parquet(path))
    target = packed(source, tmp_path, *options)
    assert f"2 features, {words}. Use it" in capsys.readouterr().out
    ours, theirs = read(str(target)), read(source, ReadOptions(targets=wish))
    assert ours.labels is not None
    assert theirs.labels is not None
    assert ours.labels.dtype == theirs.labels.dtype
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.class_names == theirs.class_names
    assert (ours.has_values, ours.follows_steps) == (theirs.has_values, theirs.follows_steps)


@pytest.mark.usefixtures("_in_small_pieces")
@pytest.mark.parametrize("shape", [(40,), (40, 3), (40, 7), (40, 7, 2), (40, 5, 2)])
@pytest.mark.parametrize("kind", ["f", "i"])
def test_labels_of_any_shape_of_arrays_are_packed(
    tmp_path: Path, shape: tuple[int, ...], kind: str
) -> None:
    generator = np.random.default_rng(0)
    x, lengths = generator.normal(size=(40, 7, 3)), generator.integers(1, 6, 40)  # none of all 7
    y = generator.normal(size=shape) if kind == "f" else generator.integers(3, 6, shape)
    np.savez(tmp_path / "data.npz", x=x, y=y, lengths=lengths)
    source = str(tmp_path / "data.npz")
    ours, theirs = read(str(packed(source, tmp_path))), read(source)
    assert ours.labels is not None
    assert theirs.labels is not None
    assert ours.labels.dtype == theirs.labels.dtype
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.class_names == theirs.class_names
    assert ours.follows_steps == theirs.follows_steps == (shape[1:2] == (7,))
    for mine, other in zip(*(Batches(each, 8) for each in (ours, theirs)), strict=True):
        np.testing.assert_array_equal(mine.labels, other.labels)


def test_packed_labels_are_no_others_than_they_were_packed_as(tmp_path: Path) -> None:
    target = packed("waves", tmp_path)
    assert read(str(target), ReadOptions(targets=Wish("classes", False))).has_values is False
    for wish, expected in (
        (Wish("values"), "values per sequence. Pack the source again with --targets values --no-"),
        (Wish(per_step=True), "classes per step. Pack the source again with --targets classes --p"),
    ):
        with pytest.raises(InputError, match=f"was packed with classes per .*{expected}"):
            read(str(target), ReadOptions(targets=wish))


def test_names_that_grow_longer_are_kept(tmp_path: Path) -> None:
    column = GrowingNpy(tmp_path / "ids.npy")
    names = [["a", "b"], ["ccc"], ["d"], ["Ünïcødé" * 9, "e"]]
    for some in names:
        column.append(np.array(some))
    column.close()
    assert np.load(tmp_path / "ids.npy").tolist() == [name for some in names for name in some]


# --- what is refused ----------------------------------------------------------------------------


def scattered_tables(path: Path) -> Iterator[tuple[list[str], str, str]]:
    header, *rows = path.read_text().splitlines()
    first = [row for row in rows if row.startswith("s0,")]
    others = [row for row in rows if not row.startswith("s0,")]
    time = len(first)
    late = f"s0,{time},up,1,1"
    yield [header, *first, others[0], late, *others[1:]], "s0", f"line {len(first) + 3}"
    yield [header, *rows, late], "s0", f"line {len(rows) + 2}"
    # a sequence that is no longer remembered when it comes again
    again = next(row for row in rows if row.startswith("s50,"))
    again = ",".join(["s50", "99", *again.split(",")[2:]])
    yield [header, *rows, again], "s50", f"row {len(rows) + 1} of the data"


@pytest.mark.usefixtures("_in_small_pieces")
@pytest.mark.parametrize("case", [0, 1, 2])
def test_sequences_whose_rows_are_scattered_are_refused_with_the_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: int
) -> None:
    path = table(tmp_path)
    lines, sequence, place = list(scattered_tables(path))[case]
    path.write_text("\n".join(lines) + "\n")
    line = refusal(capsys, path, "-o", "packed")
    assert f"sequence '{sequence}' goes on after rows of others" in line
    assert place in line
    assert "Sort the table" in line


@pytest.mark.usefixtures("_in_small_pieces")
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("s90,0,up,nan,1", "line {}, column 'u'"),
        ("s90,0,up,1", "line {} has 4 cells, expected 5"),
        ("s90,0,,1,1", "line {}, column 'label': empty cell"),
        ("s90,0,up,x,1", "line {}, column 'u': 'x' is not a number"),
        ("s90,0,up,1,1\ns90,0,up,1,1", "the time is the same as on line {}"),
        ("s90,0,up,1,1\ns90,1,down,1,1", "label 'down', but sequence 's90' has 'up' before"),
    ],
)
def test_a_bad_row_far_down_is_named_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, expected: str
) -> None:
    path = table(tmp_path)
    with path.open("a") as file:
        file.write(row + "\n")
    line = len(path.read_text().splitlines()) - row.count("\n")
    assert expected.format(line) in refusal(capsys, path, "-o", "packed")


def test_wrong_sources_and_targets_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path)
    assert "missing.csv: no such file" in refusal(capsys, "missing.csv", "-o", "packed")
    line = refusal(capsys, path, "-o", "packed", "--targets", "values")
    assert "line 2, column 'label': 'up' is not a finite number" in line
    assert "has no label column 'class'" in refusal(capsys, path, "-o", "p", "--label", "class")
    np.save("x.npy", np.ones((4, 3, 2)))
    assert "has no labels, expected a labels_file" in refusal(capsys, "x.npy", "-o", "packed")
    Path("full").mkdir()
    Path("full/file").touch()
    assert "full: is not empty" in refusal(capsys, path, "-o", "full")
    assert "data.csv: is a file" in refusal(capsys, path, "-o", path)
    Path("void.csv").touch()
    assert "void.csv: is empty" in refusal(capsys, "void.csv", "-o", "packed")
    path.write_text("sequence,label,u\n")
    assert "has a header but no rows" in refusal(capsys, path, "-o", "packed")


def test_unlabelled_sources_are_packed_when_asked_for(tmp_path: Path) -> None:
    target = packed(table(tmp_path), tmp_path, "--unlabelled")
    assert read(str(target), ReadOptions(require_labels=False)).labels is None
    assert read(str(target), ReadOptions(require_labels=False)).feature_names == ("u", "v")
    (tmp_path / "labelled").mkdir()
    labelled = packed(table(tmp_path), tmp_path / "labelled")
    assert read(str(labelled), ReadOptions(require_labels=False)).labels is None
    with pytest.raises(InputError, match="was packed without labels"):
        read(str(target))


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_stops_half_way_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stop: BaseException,
    compressed: bool,
) -> None:
    source = archive(tmp_path, compressed=compressed)
    monkeypatch.setattr(streaming, "_VALUES", 50)
    add = pack_writer.PackWriter.add

    def stopping(writer: pack_writer.PackWriter, block: Block) -> None:
        add(writer, block)
        if writer._lengths.count > 20:
            raise stop

    monkeypatch.setattr(pack_writer.PackWriter, "add", stopping)
    code = main(["pack", str(source), "-o", "packed"])
    assert code == (130 if isinstance(stop, KeyboardInterrupt) else 2)
    assert {path.name for path in tmp_path.iterdir()} == {"data.npz"}
    expected = {130: "interrupted", 2: "packing .*data.npz stopped .No space left.; nothing is"}
    assert re.search(expected[code], capsys.readouterr().err)


def _broken(index: dict[str, object], **changes: object) -> str:
    return json.dumps(index | changes)


def test_damaged_directories_name_the_file(tmp_path: Path) -> None:
    target = packed("waves", tmp_path)
    index = json.loads((target / "index.json").read_text())
    for name, content, expected in (
        ("index.json", "{", r"index\.json: is damaged"),
        ("index.json", "[]", r"index\.json: was not written by"),
        ("index.json", _broken(index, version=2), r"index\.json: has version 2 of the format"),
        ("index.json", _broken(index, shards=[]), r"index\.json: lacks"),
        ("index.json", _broken(index, sequences=999), r"index\.json: lacks"),
        ("index.json", _broken(index, feature_names=["a"]), r"values-00000\.npy: holds float32"),
        ("values-00000.npy", None, r"values-00000\.npy: is missing"),
        ("lengths.npy", None, r"lengths\.npy: is missing"),
        ("values-00000.npy", "cut", r"values-00000\.npy: the array is damaged or cut short"),
        ("ids.npy", "nonsense", r"ids\.npy: the array is damaged"),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(target, copy)
        if content is None:
            (copy / name).unlink()
        elif content == "cut":
            whole = (copy / name).read_bytes()
            (copy / name).write_bytes(whole[:-4])
        else:
            (copy / name).write_text(content)
        with pytest.raises(InputError, match=expected):
            read(str(copy))
        shutil.rmtree(copy)
