"""What the READMEs say is so: their links, their lists, and the options they name."""

import contextlib
import io
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from urllib.parse import urldefrag

import pytest

from grulight.cli import COMMANDS, main
from grulight.keras_files.layers.activations import ACTIVATIONS
from grulight.keras_files.layers.registry import KINDS
from parity.__main__ import main as parity_main
from parity.controls.wrong_ports import NEGATIVE_CONTROLS
from parity.keras_files.wrong_ports import WRONG_PORTS as FILE_WRONG_PORTS
from parity.report.json_file import as_json
from parity.result import Result

ROOT = Path(__file__).parent.parent
READMES = (
    *("README.md", ".github/CONTRIBUTING.md", "grulight/data/README.md"),
    *("grulight/keras_files/README.md", "grulight/tuning/README.md"),
    *("parity/README.md", "scripts/README.md"),
)
PARITY = ("check", "record", "replay")
ENTRIES = {"grulight": main, "parity": parity_main}
# whose --help is one screen
OF_LIGHTNING = [f"grulight {verb}" for verb in ("fit", "validate", "test", "predict", "tune")]
SCRIPTS = ("benchmark", "example_data", "mutation", "picture")
# of classes that are named on the command line, and of other programs
ELSEWHERE = ("--optimizer.lr", "--lr_scheduler.T_max", "--config")


def text_of(readme: str) -> str:
    return (ROOT / readme).read_text(encoding="utf-8")


def section(readme: str, title: str) -> str:
    return re.split(r"^## ", text_of(readme).partition(f"\n## {title}\n")[2], flags=re.M)[0]


def named(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `([^`|]+)`", text, flags=re.M)


def anchors(path: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a file."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("readme", READMES)
def test_every_relative_link_leads_to_a_file_and_a_heading(readme: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(readme))
    inside = [urldefrag(link) for link in links if "://" not in link]
    assert inside
    for link, anchor in inside:
        target = (ROOT / readme).parent / link if link else ROOT / readme
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


def test_readme_fits_few_screens_and_leads_to_every_other() -> None:
    assert len(text_of("README.md").splitlines()) < 130
    for other in READMES[1:]:
        assert f"]({other}" in text_of("README.md")


def test_picture_of_the_readme_is_light() -> None:
    [picture] = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text_of("README.md"))
    assert (ROOT / picture).stat().st_size <= 60_000


def test_layers_operations_and_activations_listed_are_those_that_can_be_ported() -> None:
    text = section("grulight/keras_files/README.md", "Layers")
    layers, _, rest = text.partition("\nOperations on tensors")
    operations, _, activations = rest.partition("\nActivation functions")
    prefix = "operation "
    assert sorted(named(layers)) == sorted(kind for kind in KINDS if not kind.startswith(prefix))
    ported = [kind.removeprefix(prefix) for kind in KINDS if kind.startswith(prefix)]
    assert sorted(named(operations)) == sorted(ported)
    assert sorted(named(activations)) == sorted([*ACTIVATIONS, "hard_sigmoid"])


def test_wrong_ports_listed_are_those_that_are_tried() -> None:
    listed = first_column(section("parity/README.md", "Controls"))
    assert sorted(listed) == sorted(
        {control.name for control in NEGATIVE_CONTROLS} | set(FILE_WRONG_PORTS)
    )


def test_keys_listed_are_those_of_the_json() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", section("parity/README.md", "JSON"), flags=re.M)
    listed = [key for row in rows for key in named(row)]
    assert sorted(listed) == sorted(as_json(Result("", "", "", "", {})))


@cache
def help_of(command: str) -> str:
    """Return the help of a command such as ``grulight fit``."""
    program, _, verb = command.partition(" ")
    entry = import_module(verb).main if program == "scripts" else ENTRIES[program]
    everything = "--help.all" if command in OF_LIGHTNING else "--help"
    arguments = ["--help"] if program == "scripts" else [verb, everything]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        entry(arguments)
    return printed.getvalue()


@pytest.fixture(autouse=True)
def _scripts_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def known(option: str, command: str) -> bool:
    return re.search(rf"(?<![\w-]){option}(?![\w.-])", help_of(command)) is not None


def shown_commands(readme: str) -> Iterator[tuple[str, list[str]]]:
    """Yield commands of ours in a README, with their options."""
    text = re.sub(r"\\\n\s*", " ", text_of(readme))
    pattern = r"(?:(?<=[\s`])|(?<=-m ))(grulight|parity|scripts/\w+\.py) ([^`\n#&]*)"
    for program, rest in re.findall(pattern, text):
        options = re.findall(r"(?<!\S)(--[a-z][\w.-]*)", rest)
        verb = rest.split()[0] if rest.split() else ""
        if program.startswith("scripts/"):
            yield f"scripts {Path(program).stem}", options
        elif verb in (COMMANDS if program == "grulight" else PARITY):
            yield f"{program} {verb}", options


@pytest.mark.parametrize("readme", READMES)
def test_every_command_shown_has_the_options_that_are_shown_with_it(readme: str) -> None:
    for command, options in shown_commands(readme):
        for option in options:
            assert known(option, command), f"{command} {option}"


@pytest.mark.parametrize("readme", READMES)
def test_every_option_named_belongs_to_a_command(readme: str) -> None:
    commands = [
        *(f"grulight {verb}" for verb in COMMANDS),
        *(f"parity {verb}" for verb in PARITY),
        *(f"scripts {script}" for script in SCRIPTS),
    ]
    for code in named(re.sub(r"^```.*?^```", "", text_of(readme), flags=re.M | re.S)):
        if code.startswith("--"):
            for option in set(re.findall(r"(?<!\S)(--[a-z][\w.-]*\w)", code)) - set(ELSEWHERE):
                assert any(known(option, command) for command in commands), option
