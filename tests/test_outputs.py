"""What a command writes takes the place of nothing that it reads, and of no directory."""

from pathlib import Path

import numpy as np
import pytest

from grulight.cli import main
from grulight.errors import InputError
from grulight.files import require_apart, written_whole
from tests.keras_files import kerasbytes as kb


@pytest.fixture
def model() -> Path:
    return kb.saved(Path(), kb.legacy(*kb.small_model()))


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_no_command_overwrites_what_it_reads(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model.read_bytes()
    Path("link.ckpt").symlink_to(model)
    for output in (model, "link.ckpt", f"./{model}"):
        assert "is read here, and would be lost" in refused(capsys, "port", model, "-o", output)
    assert model.read_bytes() == before
    assert main(["port", str(model), "-o", "m.ckpt"]) == 0
    Path("x.csv").write_text("sequence,label,a,b,c\ns,0,1,2,3\n")
    commands = (
        ["trace", "m.ckpt", "-o", "m.ckpt"],
        ["predict", "--ckpt_path", "m.ckpt", "--data.source", "x.csv", "--output", "x.csv"],
    )
    for command in commands:
        assert "would be lost" in refused(capsys, *command)
    assert Path("x.csv").read_text().startswith("sequence,label")


def test_a_directory_is_named_where_a_file_is_expected(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there").mkdir()
    assert refused(capsys, "port", model, "-o", "there").startswith(
        "grulight port: there: is a directory, expected the name of a file."
    )
    with pytest.raises(InputError, match=r"^there: is a directory"), written_whole("there"):
        pass


def test_names_that_are_no_paths_are_in_nobodys_way() -> None:
    np.savez("a.npz", x=np.zeros(1))
    require_apart("a.npz", None, "waves", "x" * 5000, "aeon:\0", Path("other"), 3)


def test_names_of_classes_are_counted_in_the_words_that_were_typed(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "port", model, "-o", "m.ckpt", "--class-names", "one")
    assert "--class-names: got 1 names, expected 2" in said


@pytest.mark.parametrize("command", ["test", "predict", "validate"])
def test_sequences_of_another_width_are_refused_where_no_names_tell(
    model: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main(["port", str(model), "-o", "m.ckpt"]) == 0
    np.savez("wide.npz", x=np.zeros((20, 7, 5), "float32"), y=np.arange(20) % 2)
    more = ["--data.val_size", 0.2] if command == "validate" else []
    said = refused(capsys, command, "--ckpt_path", "m.ckpt", "--data.source", "wide.npz", *more)
    assert "wide.npz: has 5 features per time step, expected 3" in said
