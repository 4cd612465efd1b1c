"""What is read otherwise than it may be meant is said, or asked about."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import ReadOptions, read
from grulight.errors import InputError

Run = Callable[..., str]
X = np.random.default_rng(0).normal(size=(6, 3, 2)).astype("float32")


def table(path: str, header: list[str], rows: list[list[Any]]) -> str:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def refusal(source: str, options: ReadOptions | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read(source, options or ReadOptions())
    return str(caught.value)


@pytest.mark.parametrize("missing", ["nan", "NaN", "NA", "N/A", "null", "None", "<NA>", " nan"])
def test_the_words_for_a_missing_label_are_no_class(missing: str) -> None:
    rows: list[list[Any]] = [[f"s{i}", i % 2, 0.5] for i in range(4)]
    source = table("a.csv", ["sequence", "label", "a"], [*rows, ["s9", missing, 0.5]])
    assert "a.csv: line 6, column 'label'" in refusal(source)
    np.savez("a.npz", x=X, y=[missing, *"abcde"])
    assert f"sequence '0' is {missing!r}" in refusal("a.npz")


def test_words_that_pandas_does_not_take_for_missing_are_classes() -> None:
    np.savez("a.npz", x=X, y=["none", "Nan", "nana", "na", "0", "-"])
    assert len(read("a.npz").class_names) == 6


def test_classes_that_the_source_names_may_be_called_anything() -> None:
    np.savez("a.npz", x=X, y=["NA"] * 3 + ["EU"] * 3, class_names=["EU", "NA"])
    assert read("a.npz").class_names == ("EU", "NA")


def test_a_missing_label_in_parquet_is_no_class() -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"sequence": [1, 2], "label": [1.0, float("nan")], "a": [0.1, 0.2]}
    parquet.write_table(pa.table(columns), "a.parquet")
    assert "row 2, column 'label': 'nan'" in refusal("a.parquet")


@pytest.mark.parametrize("name", ["__index_level_0__", "when"])
def test_an_index_that_pandas_wrote_is_left_out_and_said(name: str) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"sequence": [1, 1, 2], "label": [0, 0, 1], "a": [0.1, 0.2, 0.3], name: [0, 1, 2]}
    whole = pa.table(columns)
    said = json.dumps({"index_columns": [name, {"kind": "range"}]})
    parquet.write_table(whole.replace_schema_metadata({"pandas": said}), "a.parquet")
    sequences = read("a.parquet")
    assert sequences.feature_names == ("a",)
    assert f"column {name!r} is an index that pandas wrote" in sequences.notes[0]
    chosen = read("a.parquet", ReadOptions(features=("a", name)))
    assert chosen.feature_names == ("a", name)
    # an index may be what orders the rows
    assert read("a.parquet", ReadOptions(time=name)).notes == ()


@pytest.mark.parametrize("said", ["no json", "[1]", '{"index_columns": 7}', '{"a": 1}'])
def test_metadata_of_any_shape_names_no_index(said: str) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    whole = pa.table({"sequence": [1, 2], "label": [0, 1], "a": [0.1, 0.2]})
    parquet.write_table(whole.replace_schema_metadata({"pandas": said}), "a.parquet")
    assert read("a.parquet").feature_names == ("a",)


def test_an_index_of_a_csv_that_was_read_and_written_again_is_left_out() -> None:
    rows = [[0, "s", "x", 0.5], [1, "t", "y", 0.5]]
    source = table("a.csv", ["Unnamed: 0", "sequence", "label", "a"], rows)
    assert read(source).feature_names == ("a",)
    assert len(read(source).notes) == 1


@pytest.mark.parametrize(
    ("name", "start"), [("timestamp", 1_700_000_000), ("Time", 0), ("t", 0.5), ("time_step", 1)]
)
def test_a_time_that_nobody_named_is_asked_about(name: str, start: float) -> None:
    rows = [[f"s{i}", start + t, i % 2, i * t] for i in range(4) for t in (2, 0, 1)]
    source = table("a.csv", ["sequence", name, "label", "a"], rows)
    assert f"Say time={name!r} to" in refusal(source)
    ordered = read(source, ReadOptions(time=name))
    assert ordered.values[1, :, 0].tolist() == [0, 1, 2]
    assert read(source, ReadOptions(features=(name, "a"))).feature_names == (name, "a")


def test_dates_that_nobody_named_are_asked_about() -> None:
    rows = [["s", f"2024-01-0{t}", "x", t] for t in (2, 1)]
    source = table("a.csv", ["sequence", "date", "label", "a"], rows)
    assert "is not a number. Say time='date' where" in refusal(source)
    assert read(source, ReadOptions(time="date")).values[0, :, 0].tolist() == [1, 2]


@pytest.mark.parametrize("name", ["t", "temperature"])
def test_a_number_that_repeats_within_a_sequence_is_a_feature(name: str) -> None:
    rows = [[f"s{i}", 20.5 if name == "t" else t, i % 2] for i in range(4) for t in range(3)]
    source = table("a.csv", ["sequence", name, "label"], rows)
    assert read(source).feature_names == (name,)


def offset_by(offset: float) -> list[list[Any]]:
    return [[f"s{i}", i % 2, offset + np.sin(i + t)] for i in range(6) for t in range(4)]


@pytest.mark.parametrize(("offset", "lost"), [(0, 0), (100, 0), (1e9, 1), (-3e5, 1)])
def test_a_feature_whose_offset_takes_its_digits_is_named(offset: float, lost: int) -> None:
    header, rows = ["sequence", "label", "a"], offset_by(offset)
    values = np.array([row[2] for row in rows])
    sources = [table("a.csv", header, rows)]
    np.savez("a.npz", x=values.reshape(6, 4, 1), y=np.arange(6) % 2)
    np.savez_compressed("b.npz", x=values.reshape(6, 4, 1), y=np.arange(6) % 2)
    for source in [*sources, "a.npz", "b.npz"]:
        notes = read(source).notes
        assert len(notes) == lost
        assert all("loses digits in float32" in note for note in notes)


def test_parquet_names_every_feature_that_loses_digits() -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"sequence": [1, 2, 3], "label": [0, 1, 0], "a": [0.1, 0.2, 0.3]}
    columns |= {"b": [10**9, 10**9 + 1, 10**9 + 2], "c": [1e8, 1e8 + 1, 1e8]}
    parquet.write_table(pa.table(columns), "a.parquet")
    [note] = read("a.parquet").notes
    assert "'b'" in note
    assert "2 such features" in note


@pytest.mark.parametrize("shape", [(6, 1, 40), (6, 9, 128)])
def test_axes_that_may_be_meant_otherwise_are_said(shape: tuple[int, int, int]) -> None:
    np.savez("a.npz", x=np.ones(shape, "float32"), y=np.arange(6) % 2)
    data = SequenceDataModule("a.npz")
    assert data.input_size == shape[2]
    count, steps, features = shape
    assert f"{count} sequences × {steps} steps × {features} features" in data.notes[0]


def test_axes_that_are_meant_so_are_not_mentioned() -> None:
    np.savez("a.npz", x=X, y=np.arange(6) % 2)
    for source in ("waves", "a.npz"):
        data = SequenceDataModule(source, train_size=0.5)
        assert data.input_size
        assert data.notes == []


def test_a_test_part_that_lacks_a_class_is_said() -> None:
    np.savez("sorted.npz", x=X, y=[0, 0, 0, 1, 1, 1])
    np.savez("mixed.npz", x=X, y=[0, 1, 2, 0, 1, 1])
    for source, words in (("sorted.npz", "sorted by class"), ("mixed.npz", "the split is by")):
        data = SequenceDataModule(source, train_size=4)
        assert data.num_classes
        [note] = data.notes
        assert "the test part has no sequence of" in note
        assert words in note


def test_notes_are_printed_by_the_commands_and_each_once(run: Run) -> None:
    np.savez("a.npz", x=np.ones((6, 1, 3), "float32"), y=[0, 1, 0, 1, 0, 1])
    said = "every sequence has one step"
    chosen = ("--data.source", "a.npz", "--data.train_size", 4)
    assert run("fit", "--trainer.max_epochs", 1, *chosen).count(said) == 1
    last = next(Path().rglob("last.ckpt"))
    assert run("test", "--ckpt_path", last, *chosen).count(said) == 1
    assert run("predict", "--ckpt_path", last, *chosen).count(said) == 1
    source = table("b.csv", ["sequence", "label", "a"], offset_by(1e9))
    assert run("pack", source, "-o", "packed").count("loses digits") == 1


def test_trace_says_what_fit_says_of_the_data(run: Run) -> None:
    np.savez("a.npz", x=np.zeros((40, 3, 30), "float32"), y=np.arange(40) % 2)
    said = "swap the last two first"
    assert said in run("fit", "--data.source", "a.npz", "--trainer.max_epochs", 1)
    [checkpoint] = Path().rglob("last.ckpt")
    assert said in run("trace", checkpoint, "-o", "page.html")
