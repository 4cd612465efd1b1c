import ast
import pickle
import re
from pathlib import Path

import pytest

import grulight
from grulight.errors import MAX_LINE, InputError, one_line, option, options_called

NAMES = {
    "line_break": "a\nb\r\u2028c",
    "terminal_title": "\x1b]0;title\x07\x1b[2J",
    "right_to_left": "abc\u202egnp.exe",
    "lone_surrogate": "\udcff",
    "long": "a" * 9_000_000,
    "long_and_unprintable": "\x1b" * 9_000_000,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_whatever_a_message_quotes_is_one_printable_line_of_bounded_length(name: str) -> None:
    message = str(InputError(f"file: {name}. Expected another."))
    assert message.isprintable()
    assert len(message) <= MAX_LINE
    assert message.startswith("file: ")
    assert message.endswith(". Expected another.")


def test_what_a_terminal_would_act_upon_is_shown_escaped() -> None:
    assert one_line("\x1b[2J\n\u202e") == r"\x1b[2J\n\u202e"
    assert one_line("Zürich, 東京") == "Zürich, 東京"


@pytest.mark.parametrize("length", range(15, 30))
@pytest.mark.parametrize("letter", ["a", "\x1b"])
def test_limit_is_kept_from_just_below_to_just_above_it(length: int, letter: str) -> None:
    line = one_line(letter * length, 20)
    assert len(line) <= 20
    assert (line == letter * length) == (letter == "a" and length <= 20)


def test_a_message_that_is_raised_again_or_pickled_stays_as_it_is() -> None:
    error = InputError("a\nb" * 1000)
    assert str(InputError(str(error))) == str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_argument_is_called_as_it_is_given() -> None:
    assert option("data.batch_size", 0) == "batch_size=0"
    assert option("data.split", "group") == "split='group'"
    assert option("data.features") == "features"
    with options_called({"data.time": "--time"}):
        assert option("data.batch_size", 0) == "--data.batch_size 0"
        assert option("data.standardize", True) == "--data.standardize true"
        assert option("data.class_names", ("up", "down")) == "--data.class_names '[up, down]'"
        assert option("data.time", "when it was") == "--time 'when it was'"
        assert option("up_to", "gru") == "up_to='gru'"
    assert option("data.time", "t") == "time='t'"


def test_what_python_uses_names_no_option_of_the_command_line_itself() -> None:
    root = Path(grulight.__file__).parent
    places = ["data", "training", "estimators", "heads", "kernels", "keras_files"]
    files = [f for place in places for f in (root / place).rglob("*.py")]
    files += [root / "model.py", root / "errors.py"]
    assert len(files) > 150
    found = []
    for file in files:
        if file.name == "reasons.py":  # a line of the terminal's
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                if re.search(r"--(data|model|trainer|optimizer)\.", text) and "\n" not in text:
                    found.append(f"{file.name}: {text}")
    assert not found
