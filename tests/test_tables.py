"""Tables of the kinds that people have: separators, compression, spreadsheets, a row each."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from xlsx import write_sheet

from grulight.cli import main
from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import ReadOptions, read
from grulight.errors import InputError

GERMAN = "sequence;time;label;a;b\ns1;1;x;0,5;1\ns1;0;x;-7,25e1;2\ns2;0;y;1,5;3\ns2;1;y;1,75;4\n"
A = [[[-72.5, 2], [0.5, 1]], [[1.5, 3], [1.75, 4]]]
SERIES = (
    "1\t0.1\t0.2\t0.3\t0.4\n2\t1.0\t0.9\t0.8\tNaN\n1\t0.0\t0.1\t0.2\t0.3\n2\t1.1\t1\tNaN\tNaN\n"
)


def refusal(source: str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(source, ReadOptions(**options))
    return str(caught.value)


def write(name: str, content: str) -> str:
    data = content.encode()
    if name.lower().endswith(".gz"):
        data = gzip.compress(data)
    if name.lower().endswith(".zst"):
        data = pyarrow.compress(data, "zstd", asbytes=True)
    Path(name).write_bytes(data)
    return name


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "A.CSV.ZST", "a.tsv.gz"])
@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_separator_and_decimal_comma_are_recognised(name: str, separator: str) -> None:
    sequences = read(write(name, GERMAN.replace(";", separator)))
    assert sequences.values.tolist() == A
    assert sequences.ids.tolist() == ["s1", "s2"]


def test_a_separator_and_a_decimal_sign_can_be_given() -> None:
    source = write("a.csv", 'sequence,label,a\ns,"x;y",1\n')
    assert refusal(source, separator=";").startswith("a.csv: has no sequence column")
    assert "expected one sign" in refusal(source, separator="::")
    quoted = write("b.csv", GERMAN.replace(",", "DOT").replace(";", '","').replace("DOT", ",")
                   .replace("\n", '"\n"').rstrip('"').join(['"', ""]))  # fmt: skip
    assert "line 2, column 'a': '0,5' is not a number. Say decimal=',' where" in refusal(quoted)
    assert read(quoted, ReadOptions(decimal=",")).values.tolist() == A
    assert read(write("c.csv", GERMAN), ReadOptions(separator=";")).values.tolist() == A


@pytest.mark.parametrize("cell", ["1.234,5", "1.5", "1 234"])
def test_a_sign_between_thousands_is_never_taken_for_a_decimal_sign(cell: str) -> None:
    source = write("a.csv", GERMAN + f"s3;0;x;{cell};1\n")
    assert f"line 6, column 'a': {cell!r} is not a number" in refusal(source)


@pytest.mark.parametrize("targets", ["values", "classes"])
def test_values_and_times_have_the_decimal_sign_of_the_table(targets: Any) -> None:
    text = "sequence;time;label;a\ns;1,5;2,5;1,5\ns;0,5;2,5;2,5\nt;0;3;1\n"
    Path("a.csv").write_text(text)
    data = SequenceDataModule("a.csv", train_size=1.0, targets=targets)
    if targets == "classes":
        assert data.class_names == ["2,5", "3"]
    else:
        assert data.parts.train.labels is not None
        assert data.parts.train.labels.tolist() == [[2.5], [3.0]]
    assert data.parts.train.values[0, :, 0].tolist() == [2.5, 1.5]


def test_a_damaged_compressed_table_is_refused() -> None:
    source = Path(write("a.csv.gz", GERMAN * 50))
    source.write_bytes(source.read_bytes()[:-30])
    assert "a.csv.gz: is damaged or cut short" in refusal(str(source))
    source.write_text(GERMAN)
    assert "is text or an unknown format, but a .csv.gz file is a gzip file" in refusal(str(source))


def test_series_of_the_ucr_archive_are_read() -> None:
    sequences = read(write("Mine_TRAIN.tsv", SERIES))
    assert sequences.lengths.tolist() == [4, 3, 4, 2]
    assert sequences.class_names == ("1", "2")
    np.testing.assert_array_equal(sequences.values[1, :, 0], np.float32([1, 0.9, 0.8, 0]))
    assert read(write("a.csv", SERIES.replace("\t", ","))).lengths.tolist() == [4, 3, 4, 2]


WIDE = "sequence,label,u_0,u_1,u_2,v_0,v_1,v_2\na,x,1,2,3,4,5,6\nb,y,7,,,8,9,NaN\n"


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.xlsx"])
def test_a_row_of_a_wide_table_is_a_sequence(name: str) -> None:
    header, *rows = [line.split(",") for line in WIDE.splitlines()]
    cells: list[list[Any]] = [
        row[:2] + [None if cell in ("", "NaN") else float(cell) for cell in row[2:]] for row in rows
    ]
    if name == "a.csv":
        write(name, WIDE)
    elif name == "a.xlsx":
        pytest.importorskip("python_calamine")
        write_sheet(Path(name), [header, *cells])
    else:
        columns = dict(zip(header, map(list, zip(*cells, strict=True)), strict=True))
        parquet.write_table(pyarrow.table(columns), name)
    options = ReadOptions(layout="wide", missing=True)
    sequences = read(name, options)
    assert sequences.feature_names == ("u", "v")
    assert sequences.ids.tolist() == ["a", "b"]
    expected = [[[1, 4], [2, 5], [3, 6]], [[7, 8], [np.nan, 9], [0, 0]]]
    np.testing.assert_array_equal(sequences.values, expected)
    assert "column 'u'" in refusal(name, layout="wide")  # NaN before the end
    chosen = read(name, ReadOptions(layout="wide", features=("v",)))
    assert chosen.values[1, :, 0].tolist() == [8, 9, 0]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("0,1,2", ("feature_0",)),
        ("t0,t1,t2", ("t",)),
        ("10,9,8", ("feature_0",)),
        ("x1.5,x1.6,x1.7", ("x1",)),
    ],
)
def test_steps_are_the_numbers_at_the_end_of_the_names(header: str, names: tuple[str]) -> None:
    sequences = read(
        write("a.csv", f"label,{header}\nx,1,2,3\ny,4,5,6\n"), ReadOptions(layout="wide")
    )
    assert sequences.feature_names == names
    order = -1 if header.startswith("10") else 1
    assert sequences.values[0, ::order, 0].tolist() == [1, 2, 3]
    assert sequences.ids.tolist() == ["0", "1"]


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (WIDE.replace("v_1", "v_3"), {}, "feature 'u' has no column of step 3"),
        (WIDE.replace("v_2", "age"), {}, "column 'age' does not end in the number of a step"),
        (WIDE.replace("b,y", "a,y"), {}, "line 3: sequence 'a' is there twice"),
        (WIDE + "c,x,,,,,,\n", {}, "line 4: the sequence has no values"),
        (WIDE, {"steps": "{feature}-{step}"}, "column 'u_0' does not end in"),
        (WIDE, {"steps": "_"}, "steps='_': has no {step}"),
        (WIDE, {"features": ("w",)}, "feature 'w' has no column of step 0"),
    ],
)
def test_other_wide_tables_are_refused(content: str, options: Any, says: str) -> None:
    assert says in refusal(write("a.csv", content), layout="wide", **options)


def test_a_wide_table_that_nobody_calls_so_is_asked_about() -> None:
    assert "or layout='wide' where" in refusal(write("a.csv", WIDE.replace("sequence", "id")))


def test_a_wide_table_is_packed(capsys: pytest.CaptureFixture[str]) -> None:
    source = write("a.csv", WIDE.replace(",,,", ",0,,"))
    assert main(["pack", source, "-o", "packed", "--layout", "wide"]) == 0
    ours, theirs = read("packed"), read(source, ReadOptions(layout="wide"))
    np.testing.assert_array_equal(np.asarray(ours.values), theirs.values)
    assert "2 sequences of up to 3 steps × 2 features" in capsys.readouterr().out


def test_lists_in_the_cells_of_parquet_are_sequences() -> None:
    columns: dict[str, Any] = {
        "label": ["x", "y"],
        "u": [[1.0, 2, 3], [4.0, 5]],
        "v": [[1, 2, 3], [4, 5]],
    }
    parquet.write_table(pyarrow.table(columns), "a.parquet")
    sequences = read("a.parquet")
    assert sequences.lengths.tolist() == [3, 2]
    assert sequences.values[1].tolist() == [[4, 4], [5, 5], [0, 0]]
    times = {"time": [[3, 1, 2], [7, 8]]}
    parquet.write_table(pyarrow.table(columns | times), "a.parquet")
    assert read("a.parquet").values[0, :, 0].tolist() == [2, 3, 1]
    for v, says in (
        ([[1, 2, 3], [4]], "row 2: column 'v' has a list of 1, expected 2 as before it"),
        ([1, 2], "column 'v' holds int64, but others hold lists"),
        ([["x"] * 3, ["y"] * 2], "column 'v' holds string, expected numbers"),
        ([[1, None, 3], [4, 5]], "the first is on row 1, column 'v'. missing='mean'"),
    ):
        parquet.write_table(pyarrow.table(columns | {"v": v}), "a.parquet")
        assert says in refusal("a.parquet")


def test_dictionary_columns_of_parquet_may_be_features() -> None:
    encoded = pyarrow.array([1.5, 2.5, 1.5]).dictionary_encode()
    columns = {"sequence": [1, 2, 3], "label": ["x", "y", "x"], "a": encoded}
    parquet.write_table(pyarrow.table(columns), "a.parquet")
    assert read("a.parquet").values[:, 0, 0].tolist() == [1.5, 2.5, 1.5]


def test_a_spreadsheet_is_read() -> None:
    pytest.importorskip("python_calamine")
    rows: list[list[str | float | None]] = [
        ["sequence", "time", "label", "a"],
        [7.0, 2.0, "x", 1.5],
        [7.0, 1.0, "x", 2.5],
        [8.0, 1.0, "y", -1.0],
    ]
    write_sheet(Path("a.xlsx"), rows)
    sequences = read("a.xlsx")
    assert sequences.ids.tolist() == ["7", "8"]
    assert sequences.values[0, :, 0].tolist() == [2.5, 1.5]
    for cell, says in (
        ("oh", "row 5, column 'a': 'oh' is not a number"),
        (None, "row 5, column 'a': empty"),
    ):
        write_sheet(Path("a.xlsx"), [*rows, ["9", 1.0, "x", cell]])
        assert says in refusal("a.xlsx")
    Path("a.xlsx").write_bytes(Path("a.xlsx").read_bytes()[:-50])
    assert "a.xlsx: is damaged or no spreadsheet" in refusal("a.xlsx")


def test_a_missing_package_for_spreadsheets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    write_sheet(Path("a.xlsx"), [["a"]])
    assert "pip install 'grulight[data]'" in refusal("a.xlsx")


@pytest.mark.parametrize("end", ["", " "])
def test_series_with_time_stamps_are_in_their_order(end: str) -> None:
    head = "@timeStamps true\n@univariate false\n@classLabel true a b\n@data\n"
    lines = (
        "(2013-03-01 01-00-00,-2.0),(2013-03-01 00-00-00,1):(2013-03-01 01-00-00,4),"
        f"(2013-03-01 00-00-00,3):a{end}\n(0,1.5),(2,2.5),(1,-3):(0,1),(2,2),(1,3):b\n"
    )
    sequences = read(write("a.ts", head + lines))
    assert sequences.values[0].tolist() == [[1, 3], [-2, 4], [0, 0]]
    assert sequences.values[1, :, 0].tolist() == [1.5, -3, 2.5]
    assert sequences.class_names == ("a", "b")
