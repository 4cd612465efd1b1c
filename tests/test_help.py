"""``--help`` is one screen, of what is ours first; ``--help.all`` is everything, without markup."""

import re

import pytest

from grulight.cli import main
from grulight.commands.help import _FIRST, _SAYS, without_markup

COMMANDS = ("fit", "validate", "test", "predict", "tune")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_one_screen_of_whole_lines(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    text = printed(capsys, command, "--help")
    lines = text.splitlines()
    assert len(lines) <= (60 if command == "fit" else 66)
    assert max(map(len, lines)) <= 100
    sections = re.findall(r"^(\w+):$", text, flags=re.MULTILINE)
    assert sections == [each for each in _FIRST if each in sections]
    assert "--data.source" in text
    assert "Ignored" not in text


def test_help_of_fit_begins_with_what_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "fit", "--help")
    heads = [f"\n{each}:" for each in ("data", "model", "optimizer", "trainer")]
    assert sorted(heads, key=text.index) == heads
    assert "--model.input_size" not in text  # which the data decide
    for name in ("--data.fill", "--model.steps_per_execution", "--checkpoint.keep"):
        assert name in text  # if only by name
    assert "[0.8]" in text


def test_everything_has_every_option_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "fit", "--help.all")
    assert not re.search(r":\w+:`|``|\*\*", text)
    for name in ("--trainer.sync_batchnorm", "--data.decimal", "--model.kernel {auto,torch"):
        assert name in text
    places = [
        text.index(f"\n  --{name}") for name in ("data.source", "model.bias", "trainer.devices")
    ]
    assert places == sorted(places)


def test_what_is_explained_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    everything = "".join(printed(capsys, each, "--help.all") for each in ("fit", "predict", "tune"))
    names = [
        f"{section}." * (section in ("data", "model", "trainer")) + name
        for section, first in _FIRST.items()
        for name in first.split()
    ]
    for name in (*names, *_SAYS):
        assert re.search(rf"--{re.escape(name)}(?![\w.])", everything), name


def test_a_class_of_its_own_shows_all_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "fit", "--optimizer.help", "SGD")
    assert "--optimizer.momentum" in text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a :class:`~torch.nn.GRU` of", "a torch.nn.GRU of"),
        ("``auto`` takes :func:`its name <a.b>`", "auto takes its name"),
        ("see `the site <https://x.org>`__, **now**", "see the site, now"),
        ("such as `1 < 2`", "such as `1 < 2`"),
    ],
)
def test_markup_becomes_plain_text(text: str, plain: str) -> None:
    assert without_markup(text) == plain


def test_an_option_that_is_not_known_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model.class_weights", "balanced"]) == 2
    assert capsys.readouterr().err.count("Did you mean --model.class_weight") == 1
    assert main(["fit", "--nonsense", "1"]) == 2
    assert "Did you mean" not in capsys.readouterr().err
