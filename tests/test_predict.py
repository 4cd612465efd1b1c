"""Predictions are written while they are made."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from grulight.cli import main
from grulight.heads import ValueHead
from grulight.runs.table_file import ROW_GROUP, written_table
from grulight.training.answers import prediction_columns

Run = Callable[..., str]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(path: Path) -> np.ndarray:
    columns = ("up", "down", "still")
    return np.array([[float(row[f"probability_{c}"]) for c in columns] for row in rows(path)])


def test_batches_of_any_size_make_the_same_table(run: Run, last_checkpoint: Path) -> None:
    for size in (1000, 300, 7):
        arguments = ("--data.batch_size", size, "--output", f"{size}.csv")
        printed = run("predict", "--ckpt_path", last_checkpoint, *arguments)
        assert "1000 sequences labelled in " in printed
        assert f"sequences/s): {size}.csv" in printed
    for other in ("300.csv", "7.csv"):
        ids = [[row["sequence"] for row in rows(Path(name))] for name in ("1000.csv", other)]
        assert ids[0] == ids[1]
        np.testing.assert_allclose(numbers(Path("1000.csv")), numbers(Path(other)), atol=1e-6)


def test_a_packed_directory_gets_the_same_table_as_its_source(
    run: Run, last_checkpoint: Path
) -> None:
    values = np.random.default_rng(0).normal(size=(50, 10, 5)).astype(np.float32)
    np.savez("source.npz", x=values, y=np.arange(50) % 3)
    run("pack", "source.npz", "-o", "packed")
    for source in ("source.npz", "packed"):
        run("predict", "--ckpt_path", last_checkpoint, "--data.source", source,
            "--output", f"{source}.csv")  # fmt: skip
    assert Path("source.npz.csv").read_bytes() == Path("packed.csv").read_bytes()


def test_rows_of_steps_leave_padding_out() -> None:
    answers = np.arange(12.0).reshape(2, 3, 2)
    columns = prediction_columns(
        ValueHead(2, per_step=True), ("a", "b"), np.array(["x", "y"]), np.array([3, 1]), answers
    )
    assert columns["sequence"].tolist() == ["x", "x", "x", "y"]
    assert columns["step"].tolist() == [0, 1, 2, 0]
    assert columns["value_b"].tolist() == [1, 3, 5, 7]


def test_parquet_has_row_groups_of_a_fair_size() -> None:
    size = ROW_GROUP // 4 + 1
    with written_table(Path("p.parquet")) as table:
        for start in range(0, 9 * size, size):
            table.append({"sequence": np.arange(start, start + size).astype(str)})
    found = pyarrow.parquet.ParquetFile("p.parquet")
    sizes = [found.metadata.row_group(n).num_rows for n in range(found.num_row_groups)]
    assert sizes == [4 * size, 4 * size, size]
    assert found.read()["sequence"].to_pylist() == [str(n) for n in range(9 * size)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_prediction_that_stops_leaves_nothing(
    last_checkpoint: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    values = np.zeros((2000, 10, 5), np.float32)
    np.save("x.npy", values)
    arguments = ["--data.source", "x.npy", "--output", f"out.{suffix}"]
    arguments += ["--trainer.limit_predict_batches", "2"]
    assert main(["predict", "--ckpt_path", str(last_checkpoint), *arguments]) == 2
    assert "answers for every sequence" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["x.npy"]


# RLIMIT_DATA: see test_pack_memory.py
SCRIPT = """
import resource
import sys

from grulight.cli import main

checkpoint, small, large, budget, output = sys.argv[1:]
arguments = ["predict", "--ckpt_path", checkpoint, "--output", output, "--data.source"]
assert main([*arguments, small]) == 0  # what all that is imported and compiled takes
with open("/proc/self/status") as file:
    now = next(int(line.split()[1]) for line in file if line.startswith("VmData"))
limit = now * 1024 + int(budget)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
sys.exit(main([*arguments, large]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_sequences(
    run: Run, last_checkpoint: Path, suffix: str
) -> None:
    """Their values take 160 MB, their answers some 200 MB as Python keeps a table."""
    for name, count in (("small", 3000), ("large", 800_000)):
        np.savez("x.npz", x=np.ones((count, 10, 5), np.float32), y=np.arange(count) % 3)
        run("pack", "x.npz", "-o", name)
    arguments = (last_checkpoint, "small", "large", 80_000_000, f"out.{suffix}")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "800000 sequences labelled" in done.stdout
