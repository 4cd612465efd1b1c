"""A run directory is made for one run, and one process at a time writes it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grulight.cli import main
from grulight.errors import InputError
from grulight.files import temporary_prefix, written_whole
from grulight.runs.run_directory import locked, make_run_directory


def test_runs_that_start_at_once_get_a_directory_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: make_run_directory(tmp_path), range(40)))
    assert sorted(numbers) == list(range(40))


def test_a_run_is_numbered_after_the_newest(tmp_path: Path) -> None:
    for name in ("version_3", "version_x", "other"):
        (tmp_path / "lightning_logs" / name).mkdir(parents=True)
    assert make_run_directory(tmp_path) == 4


def test_a_directory_has_one_writer_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grulight.runs.run_directory._PATIENCE", 0.1)
    with (
        locked(tmp_path, print),
        pytest.raises(InputError, match=rf"process {os.getpid()} on .* trains here"),
        locked(tmp_path, print),
    ):
        pass
    with locked(tmp_path, print):
        pass


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from grulight.runs.run_directory import locked\n"
        "with locked(Path(sys.argv[1]), print):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == -9
    assert (tmp_path / ".lock").read_text().startswith("process ")
    with locked(tmp_path, print):
        pass


def test_where_there_are_no_locks_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("grulight.runs.run_directory.lock", lambda descriptor: None)
    with locked(tmp_path, said.append):
        pass
    assert ["has no locks" in line for line in said] == [True]


def test_auto_does_not_go_on_with_a_run_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("grulight.runs.run_directory._PATIENCE", 0.1)
    assert main(["fit", "--trainer.max_epochs", "1"]) == 0
    run = Path("lightning_logs/version_0")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for directory in (run, run.parent):
        with locked(directory, print):
            kept = (directory / ".lock").read_bytes()
            assert main(["fit", "--ckpt_path", "auto"]) == 2
            assert "trains here" in capsys.readouterr().err
            assert (directory / ".lock").read_bytes() == kept
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} <= {".lock"}


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    left = tmp_path / f"{temporary_prefix('table')}dead.csv"
    for path in (left, others := tmp_path / ".table-mine.csv"):
        path.write_text("half")
    with written_whole(target) as living:
        assert not left.exists()
        living.write_text("first")
        with written_whole(target) as second:
            second.write_text("second")
        assert living.exists()  # its writer is alive
    assert target.read_text() == "first"
    assert sorted(tmp_path.iterdir()) == [others, target]


def test_a_write_that_fails_leaves_no_new_directory(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), written_whole(tmp_path / "a/b/c.csv"):
        raise OSError("full")
    assert not list(tmp_path.iterdir())
