import os
from pathlib import Path

import pytest

from grulight.errors import InputError
from grulight.files import link_whole, require_writable, written_whole


def write_half(target: Path) -> None:
    with written_whole(target) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        write_half(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_written_file_replaces_the_old_one_and_can_be_read_by_others(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.csv"
    with written_whole(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert target.stat().st_mode & 0o044 == 0o044
    assert list(target.parent.iterdir()) == [target]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/run.*cannot be written"):
        require_writable(tmp_path / "file" / "run")


def test_checking_a_directory_leaves_nothing_behind(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "run")
    assert list(tmp_path.rglob("*")) == []
    require_writable(tmp_path)
    assert tmp_path.exists()


@pytest.mark.parametrize("can_link", [True, False])
def test_a_second_name_is_there_at_once_and_leaves_nothing_beside_it(
    can_link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "best", tmp_path / "last"
    source.write_text("new")
    target.write_text("old")
    for _ in range(2):  # the second time both are one file already
        link_whole(source, target)
        assert target.read_text() == "new"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]
    assert source.samefile(target) is can_link
