"""Names from data on the terminal and in tables that a spreadsheet may open."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from grulight.cli import main
from grulight.data.readers import ReadOptions, read
from grulight.errors import InputError
from grulight.runs.table_file import written_table
from grulight.trace.confusion_picture import save_confusion_picture
from grulight.trace.stages import Stage
from grulight.trace.terminal import confusion_table, file_list, stage_table

TITLE = "\x1b]0;title\x07\x1b[2J[bold]\u202e"
SHOWN = r"\x1b]0;title\x07\x1b[2J[bold]\u202e"


def printed(what: object, capsys: pytest.CaptureFixture[str]) -> str:
    Console(width=400).print(what)
    return capsys.readouterr().out


def test_no_name_makes_a_terminal_act(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / TITLE.replace("/", "")).touch()
    stage = Stage("input", "2 × 3", TITLE, TITLE)
    for what in (
        confusion_table(np.eye(2, dtype=np.int64), [TITLE, "b"]),
        stage_table([stage]),
        file_list(tmp_path),
    ):
        text = printed(what, capsys)
        assert SHOWN in text
        assert text.replace("\n", "").isprintable()


def test_a_training_shows_names_escaped(run: Callable[..., str]) -> None:
    random = np.random.default_rng(0)
    labels = np.array([TITLE, "b"])[np.arange(40) % 2]
    np.savez("a.npz", x=random.normal(size=(40, 3, 2)), y=labels)
    text = run("fit", "--data.source", "a.npz", "--trainer.max_epochs", 1)
    assert "\x1b" not in text
    assert r"\x1b]0;title" in text


def test_a_column_is_named_in_a_message_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.csv").write_text(f"sequence,{TITLE},f\na,0,1\n")
    with pytest.raises(InputError, match="has no label column"):
        read("a.csv", ReadOptions())
    assert main(["fit", "--data.source", "a.csv"]) == 2
    message = capsys.readouterr().err
    assert message.strip().isprintable()
    assert SHOWN in message


@pytest.mark.filterwarnings("error")
def test_a_picture_of_classes_has_room_for_long_names(tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    save_confusion_picture(np.eye(2, dtype=np.int64), [TITLE[:-1], "n" * 1000], path)
    assert path.stat().st_size


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a=1"]


@pytest.mark.parametrize("safe", [False, True])
def test_a_spreadsheet_runs_no_text_that_is_written_for_it(tmp_path: Path, safe: bool) -> None:
    path = tmp_path / "a.csv"
    numbers = -np.arange(7.0)
    with written_table(path, spreadsheet_safe=safe) as table:
        table.append({"sequence": np.array(FORMULAS), "value_0": numbers})
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    mark = "'" if safe else ""
    assert [row[0] for row in rows] == [*(mark + text for text in FORMULAS[:-1]), "a=1"]
    assert [float(row[1]) for row in rows] == numbers.tolist()  # a number below 0 is no formula


def test_predict_writes_for_a_spreadsheet_on_request(
    run: Callable[..., str], last_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("a.npz", x=np.zeros((2, 10, 5), np.float32), ids=["=1+1", "b"])
    arguments = ["--ckpt_path", str(last_checkpoint), "--data.source", "a.npz"]
    arguments += ["--spreadsheet_safe", "true", "--output"]
    run("predict", *arguments, "a.csv")
    lines = Path("a.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["sequence", "'=1+1", "b"]
    assert main(["predict", *arguments, "a.parquet"]) == 2
    assert "--spreadsheet_safe is for a .csv table" in capsys.readouterr().err
