"""Tables as pandas, Excel and other programs write them: read as they are meant, or asked about."""

import gzip
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from xlsx import write_sheet

from grulight.cli import main
from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import ReadOptions, read
from grulight.data.sequences import Sequences
from grulight.errors import InputError

RANDOM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "sequence": np.repeat([f"s{i}" for i in range(10)], 4),
        "time": np.tile(np.arange(4)[::-1], 10),
        "label": np.repeat(["schön", "Überdruck"] * 5, 4),
        "u": RANDOM.normal(size=40).round(3),
        "v": RANDOM.normal(size=40).round(3),
    }
)


def read_back(path: Path | str, **options: object) -> Sequences:
    return read(str(path), ReadOptions(**options))  # type: ignore[arg-type]


def refusal(path: Path | str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_back(path, **options)
    return str(caught.value)


def require_same(found: Sequences, classes: tuple[str, ...] = ("schön", "Überdruck")) -> None:
    expected = FRAME[["u", "v"]].to_numpy(np.float32).reshape(10, 4, 2)[:, ::-1]
    np.testing.assert_array_equal(found.values, expected)
    assert found.feature_names == ("u", "v")
    assert found.class_names == classes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("style", [{}, {"sep": ";", "decimal": ","}, {"sep": "\t"}], ids=str)
@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
def test_an_encoding_that_the_first_bytes_tell_is_read(
    encoding: str, style: dict[str, str], pack: Callable[[bytes], bytes]
) -> None:
    text = FRAME.to_csv(index=False, **style)
    path = Path("a.csv" if pack(b"") == b"" else "a.csv.gz")
    path.write_bytes(pack(text.encode(encoding)))
    require_same(read_back(path))


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac-roman", "cp437"])
def test_another_encoding_is_asked_about_and_read_where_it_is_said(encoding: str) -> None:
    frame = FRAME.rename(columns={"u": "Größe"})
    frame.to_csv("a.csv", index=False, encoding=encoding)
    FRAME.to_csv("b.csv", index=False, encoding=encoding)
    assert "line 1 is not UTF-8 text (byte 0x" in (line := refusal("a.csv"))
    assert "after 'quence,time,label,Gr'). Say encoding='cp1252' where" in line
    assert "line 2 is not UTF-8" in refusal("b.csv")
    assert read_back("a.csv", encoding=encoding).feature_names == ("Größe", "v")
    require_same(read_back("b.csv", encoding=encoding))


@pytest.mark.parametrize("style", [{}, {"encoding": "cp1252"}, {"encoding": "utf-16"}], ids=str)
@pytest.mark.parametrize("packed", [False, True])
def test_cells_of_several_lines_are_read_from_what_is_decoded(
    style: dict[str, str], packed: bool
) -> None:
    words = {"schön": 'schön, „a"\nb', "Überdruck": "Überdruck"}
    frame = FRAME.assign(label=FRAME["label"].map(words), u=FRAME["u"].map("{}".format))
    frame.loc[3, "u"] = "1_000"
    assert "line 9, column 'u': '1_000' is not a number" in refusal(
        written("a.csv.gz" if packed else "a.csv", frame, **style), **style
    )
    frame.loc[3, "u"] = str(FRAME["u"][3])
    require_same(
        read_back(written("a.csv.gz" if packed else "a.csv", frame, **style), **style),
        tuple(words.values()),
    )


@pytest.mark.parametrize("name", ["rot13", "klingon", "base64", "punycode", "a\0b", ""])
def test_what_is_no_encoding_is_refused(name: str) -> None:
    FRAME.to_csv("a.csv", index=False)
    assert "expected a name of Python's, such as cp1252" in refusal("a.csv", encoding=name)


def test_text_of_another_encoding_than_was_said_is_one_line() -> None:
    FRAME.to_csv("a.csv", index=False, encoding="cp1252")
    assert "or no ascii text" in refusal("a.csv", encoding="ascii")
    np.savez("a.npz", x=np.ones((4, 2, 1)), y=[0, 1, 0, 1])
    assert "is only for a table" in refusal("a.npz", encoding="cp1252")


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "\ufeffsep=;"])
def test_the_line_that_tells_excel_the_separator_is_no_header(first: str) -> None:
    text = FRAME.to_csv(index=False, sep=";", decimal=",")
    Path("a.csv").write_text(f"{first}\n{text}", encoding="utf-8")
    require_same(read_back("a.csv"))
    Path("a.csv").write_text(f"{first}\n{text.replace(';u;', ';;')}", encoding="utf-8")
    assert "column 4 has no name" in refusal("a.csv")
    Path("a.tsv").write_text(f"{first}\n1;0,5;1\n2;0,25;2\n".replace(",", "."), encoding="utf-8")
    np.testing.assert_array_equal(read_back("a.tsv").values[:, :, 0], [[0.5, 1], [0.25, 2]])


@pytest.mark.parametrize(
    "format", ["%d.%m.%Y", "%d.%m.%Y %H:%M:%S", "%Y/%m/%d", "%Y.%m.%d %H:%M", "%Y-%m-%d"]
)
def test_dates_whose_day_and_month_are_plain_order_the_rows(format: str) -> None:
    days = pd.Timestamp("2024-12-29") + pd.to_timedelta(FRAME["time"], unit="D")
    frame = FRAME.assign(time=days.dt.strftime(format))  # from one year to the next
    frame.to_csv("a.csv", index=False, sep=";", decimal=",")
    require_same(read_back("a.csv"))
    frame.to_parquet("a.parquet")
    require_same(read_back("a.parquet"))
    short = frame.assign(time=frame["time"].str.replace("01", "1", n=1))
    short.to_csv("a.csv", index=False)
    require_same(read_back("a.csv"))


@pytest.mark.parametrize("date", ["12/29/2024", "29/12/2024", "29.12.24", "31.31.2024", "29. Dez"])
def test_a_date_that_may_be_meant_otherwise_is_asked_about(date: str) -> None:
    FRAME.assign(time=date).to_csv("a.csv", index=False)
    line = refusal("a.csv")
    assert f"line 2: time '{date}', expected numbers, or dates such as 2024-01-31" in line
    assert ("day and month could be swapped" in line) == ("/" in date)


def written_twice(frame: pd.DataFrame, path: str) -> None:
    frame.to_csv(path)
    pd.read_csv(path).to_csv(path)


def written_as_a_sheet(frame: pd.DataFrame, path: str) -> None:
    cells = frame.reset_index().astype(object).to_numpy().tolist()
    write_sheet(Path(path), [["", *frame.columns], *cells])


@pytest.mark.parametrize(
    ("write", "path", "index"),
    [
        (lambda frame, path: frame.to_csv(path), "a.csv", "'Unnamed: 0'"),
        (lambda frame, path: frame.to_csv(path, sep=";", decimal=","), "a.csv", "'Unnamed: 0'"),
        (written_twice, "a.csv", "'Unnamed: 0.1', 'Unnamed: 0'"),
        (written_as_a_sheet, "a.xlsx", "'Unnamed: 0'"),
    ],
    ids=["csv", "semicolons", "twice", "sheet"],
)
def test_an_index_that_pandas_wrote_is_left_out_and_said(
    write: Callable[[pd.DataFrame, str], None], path: str, index: str
) -> None:
    write(FRAME, path)
    require_same(found := read_back(path))
    [note] = found.notes
    assert f"column {index} is an index that pandas wrote, and no feature, unless" in note
    names = ("Unnamed: 0", "u")
    assert read_back(path, features=names).feature_names == names
    assert read_back(path, time="Unnamed: 0", features=("u",)).values[0, 0, 0] == np.float32(
        FRAME["u"][0]
    )


@pytest.mark.parametrize("name", ["index", "id", "Row_Number", "counter"])
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
def test_a_number_of_the_row_does_not_become_a_feature_unasked(
    name: str, timed: bool, kind: str
) -> None:
    frame = FRAME.assign(**{name: np.arange(40)})
    if not timed:
        frame = frame.drop(columns="time")
    frame.to_csv("a.csv", index=False)
    frame.to_parquet("a.parquet")
    source = {"csv": "a.csv", "parquet": "a.parquet", "frame": frame}[kind]
    with pytest.raises(InputError, match=f"'{name}' looks like an index of the rows") as caught:
        _ = SequenceDataModule(source).parts
    assert (f"Say time='{name}' to order" in str(caught.value)) == (not timed)
    assert "ist the features, with or without it, as features." in str(caught.value)
    assert SequenceDataModule(source, features=["u", name]).parts.train.feature_names == ("u", name)


def test_a_feature_that_is_called_an_index_and_holds_fractions_is_one() -> None:
    path = written("a.csv", FRAME.rename(columns={"u": "Index"}))
    assert read_back(path).feature_names == ("Index", "v")


def test_a_feature_that_counts_within_each_sequence_is_one() -> None:
    frame = FRAME.assign(laps=np.tile(np.arange(4), 10))
    frame.to_csv("a.csv", index=False)
    assert read_back("a.csv").feature_names == ("u", "v", "laps")


def test_messages_name_arguments_in_python_and_options_on_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    FRAME.to_csv("a.csv", index=False, encoding="cp1252")
    assert "encoding='cp1252'" in refusal("a.csv")
    assert main(["fit", "--data.source", "a.csv"]) == 2
    assert "Say --data.encoding cp1252 where" in capsys.readouterr().err
    assert main(["pack", "a.csv", "-o", "packed"]) == 2
    assert "Say --encoding cp1252 where" in capsys.readouterr().err
    assert main(["pack", "a.csv", "-o", "packed", "--encoding", "cp1252"]) == 0
    require_same(read_back("packed"))


def test_a_list_written_as_text_says_what_to_do() -> None:
    lists = FRAME.groupby("sequence").agg({"label": "first", "u": list}).reset_index()
    lists.to_csv("a.csv", index=False)
    assert "is a list. Where a row is a sequence, save it as .parquet" in refusal("a.csv")


def written(name: str, frame: pd.DataFrame, **style: object) -> str:
    frame.to_csv(name, index=False, **style)  # type: ignore[call-overload]
    return name


def test_lists_of_lists_are_asked_about() -> None:
    cases = FRAME.groupby("sequence")
    lists = [case[["u", "v"]].to_numpy().tolist() for _, case in cases]
    pd.DataFrame({"label": cases["label"].first(), "x": lists}).reset_index().to_parquet(
        "a.parquet"
    )
    assert "column 'x' has lists of lists, expected a column of lists for each" in (
        refusal("a.parquet")
    )


def test_truth_values_of_text_are_those_of_parquet() -> None:
    frame = FRAME.assign(up=FRAME["u"] > 0)
    frame.to_parquet("a.parquet")
    expected = read_back("a.parquet").values
    for path in (written("a.csv", frame), written("b.csv", frame, sep=";", decimal=",")):
        np.testing.assert_array_equal(read_back(path).values, expected)
    mixed = frame.assign(up=frame["up"].astype(object).where(frame.index != 5, 2))
    assert "line 2, column 'up': '" in refusal(written("a.csv", mixed))


@pytest.mark.parametrize(
    ("frame", "style", "says"),
    [
        (FRAME.assign(u="yes"), {}, "'yes' is not a number. Write it as numbers, or pass the oth"),
        (FRAME.assign(day="2024-01-01"), {}, "Write it as numbers, or pass the other columns as"),
        (FRAME.assign(u=[*FRAME["u"][1:].map("{} V".format), "1"]), {}, "Write it as numbers"),
        (FRAME.rename(columns=str.upper), {}, "LABEL, U, V). Say sequence='COLUMN' to name it, or"),
        (FRAME.drop(columns="label"), {}, "Say label='COLUMN' to name it."),
        (FRAME, {"sep": " "}, "Where spaces stand between cells, say separator='space'."),
        (
            FRAME.assign(time=0),
            {},
            "(30 such). Keep one of them, or say time='COLUMN' for another.",
        ),
    ],
)
def test_what_a_table_lacks_says_what_to_do(
    frame: pd.DataFrame, style: dict[str, object], says: str
) -> None:
    assert says in refusal(written("a.csv", frame, **style))


def test_a_table_between_whose_cells_are_spaces_is_read_where_it_is_said() -> None:
    require_same(read_back(written("a.csv", FRAME, sep=" "), separator="space"))


def test_a_file_of_another_kind_says_what_to_save() -> None:
    FRAME.to_feather("a.feather")
    assert "Save another kind of table as .csv or .parquet" in refusal("a.feather")


@pytest.mark.parametrize(("other", "said"), [("Leak ", True), ("leaks", False)])
def test_classes_that_are_spelt_nearly_alike_are_said(other: str, said: bool) -> None:
    labels = np.repeat(["leak", other, "ok", "leak", "ok", "ok", other, "ok", "leak", "ok"], 4)
    data = SequenceDataModule(written("a.csv", FRAME.assign(label=labels)))
    _ = data.parts
    assert any("differ in case or spaces alone" in note for note in data.notes) == said


def test_whole_numbers_that_each_sequence_has_alone_may_be_values() -> None:
    path = written("a.csv", FRAME.assign(label=np.repeat(np.arange(10) * 7, 4)))
    with pytest.raises(InputError, match="numbers to predict, say targets='values'"):
        _ = SequenceDataModule(path).parts
    assert SequenceDataModule(path, targets="values").parts.train.has_values


def test_one_class_alone_is_not_called_sorted() -> None:
    with pytest.raises(InputError, match="at least 2 classes to tell apart") as caught:
        _ = SequenceDataModule(written("a.csv", FRAME.assign(label="ok"))).parts
    assert "sorted" not in str(caught.value)


def test_numbers_near_the_largest_are_read_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    signs = np.where(np.arange(40) % 2, 3e38, -3e38)
    assert np.abs(read_back(written("a.csv", FRAME.assign(u=signs))).values).max() > 2e38
    assert not recwarn.list


def test_sheets_that_are_not_read_are_named() -> None:
    cells = FRAME.astype(object).to_numpy().tolist()
    write_sheet(Path("one.xlsx"), [[*FRAME.columns], *cells])
    assert read_back("one.xlsx").notes == ()
    with ZipFile("one.xlsx") as one, ZipFile("two.xlsx", "w") as two:
        for name in one.namelist():
            more = b'<sheet name="more" sheetId="2" r:id="r1"/></sheets>'
            two.writestr(name, one.read(name).replace(b"</sheets>", more))
    require_same(found := read_back("two.xlsx"))
    assert found.notes == ("two.xlsx: of its sheets the first is read, 'a', and not more.",)
