"""Text tables as they come: what is read is what the cells say, and what is wrong is named."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grulight.data.readers import ReadOptions, read, text_file
from grulight.errors import InputError

ROWS = [
    [f"s{i // 4}", str(9 - i % 4), "xy"[i // 4 % 2], repr(i / 7), repr(-i * 1e5)] for i in range(40)
]
HEADER = ["sequence", "time", "label", "a", "b"]


def refusal(path: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read(str(path), options or ReadOptions())
    return str(caught.value)


def text(separator: str = ",", end: str = "\n", quoting: Any = csv.QUOTE_MINIMAL) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerows([HEADER, *ROWS])
    return file.getvalue()


@pytest.mark.parametrize("block", [40, 150, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("spaces", [False, True])
def test_every_way_to_write_a_table_gives_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    end: str,
    quoting: int,
    spaces: bool,
) -> None:
    monkeypatch.setattr(text_file, "_BLOCK", block)
    path = tmp_path / "a.csv"
    content = text(end=end, quoting=quoting)
    path.write_bytes((content.replace(",", ", ") if spaces else content).encode())
    found = read(str(path))
    expected = np.array([[float(row[3]), float(row[4])] for row in ROWS], np.float32)
    np.testing.assert_array_equal(found.values, expected.reshape(10, 4, 2)[:, ::-1])
    assert found.ids.tolist() == [f"s{i}" for i in range(10)]
    assert found.class_names == ("x", "y")


@pytest.mark.parametrize("block", [40, 1 << 20])
@pytest.mark.parametrize(
    "before",
    [
        "s,{},x,1,1\n",
        "\n\ns,{},x,1,1\n",
        '"s\n\n",{},x,1,1\n',
        "s, {},x,1,1\n",
        's,{},"x",1,1\r',
    ],
)
@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("s,5,x,1,oh", "column 'b': 'oh' is not a number"),
        ("s,5,x,nan,1", "column 'a'"),
        ("s,5,x,1", "has 4 cells"),
        ('s,5,x,1,"1"2', "',' expected after"),
        ("s,5,,1,1", "column 'label': empty cell"),
        ("s,soon,x,1,1", "time 'soon', expected a number as before"),
    ],
)
def test_the_line_is_named_whatever_stands_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, before: str, row: str, says: str
) -> None:
    monkeypatch.setattr(text_file, "_BLOCK", block)
    path = tmp_path / "a.csv"
    content = ",".join(HEADER) + "\n" + "".join(before.format(time) for time in range(3))
    line = len(content.splitlines()) + 1
    path.write_bytes((content + row + "\n" + "t,0,y,1,1\n").encode())
    message = refusal(path)
    assert f"line {line}" in message
    assert says in message


@pytest.mark.parametrize(
    ("cell", "value"),
    [("+1.5", 1.5), (" 2 ", 2.0), ("1e-320", 0.0), (".5", 0.5), ("5.", 5.0), ("١", 1.0)],
)
def test_numbers_are_what_python_takes_for_numbers(tmp_path: Path, cell: str, value: float) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"sequence,label,a\ns,x,{cell}\nt,y,1\n", encoding="utf-8")
    assert read(str(path)).values[0, 0, 0] == value
