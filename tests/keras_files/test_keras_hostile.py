"""Files that want more than to be read are refused in one line; nothing they name is touched."""

import encodings.cp437  # noqa: F401 - zipfile's, which a watched test must not be first to import
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import hostile
import kerasbytes as kb
import pytest

from grulight.errors import InputError
from grulight.keras_files.port import load_keras


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record what must not happen while a file is opened."""
    events: list[str] = []
    banned = ("os.system", "subprocess.Popen", "socket.connect", "exec", "marshal.loads")

    def hook(event: str, args: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if active and (event in banned or event == "pickle.find_class" or writes):
            events.append(f"{event} {args}")

    active = [True]
    sys.addaudithook(hook)
    monkeypatch.setattr(socket, "socket", None)
    yield events
    active.clear()


@pytest.mark.parametrize("name", [*hostile.CONTAINERS, *hostile.MODELS])
def test_hostile_file_is_refused_in_one_line(name: str, tmp_path: Path, watched: list[str]) -> None:
    build, words = {**hostile.CONTAINERS, **hostile.MODELS}[name]
    content = build()
    path = kb.saved(tmp_path, content)
    watched.clear()
    with pytest.raises(InputError, match=words) as refusal:
        load_keras(path)
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert not watched
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", hostile.HARMLESS)
def test_what_is_never_looked_at_does_no_harm(
    name: str, tmp_path: Path, watched: list[str]
) -> None:
    path = kb.saved(tmp_path, hostile.HARMLESS[name]())
    watched.clear()
    load_keras(path)
    assert not watched
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_part_before_a_refused_layer_is_ported(tmp_path: Path) -> None:
    path = kb.saved(tmp_path, hostile.with_layer("Lambda", function=hostile.LAMBDA_CODE))
    model = load_keras(path, up_to="evil")
    assert [row.name for row in model.table] == ["gru_input", "gru", "dense"]
    assert [row.name for row in load_keras(path, up_to="gru").table] == ["gru_input", "gru"]


def test_unknown_layer_is_named_with_what_is_supported(tmp_path: Path) -> None:
    path = kb.saved(tmp_path, hostile.with_layer("MyAttention", units=3))
    with pytest.raises(
        InputError,
        match=r"'evil' is a 'MyAttention'.*up_to='evil'.*Near it: Attention.*All that are: .*READ",
    ):
        load_keras(path)


@pytest.mark.parametrize("name", ["d" * 300, "file/model.keras"])
def test_what_the_system_does_not_open_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"no such file|cannot be read"):
        load_keras(tmp_path / name)


def test_a_file_without_permission_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kb.saved(tmp_path, kb.legacy(*kb.small_model()))

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match=rf"^{path}: cannot be read \(Permission denied\)"):
        load_keras(path)


def test_name_with_line_breaks_stays_on_one_line(tmp_path: Path) -> None:
    path = kb.saved(tmp_path, hostile.with_layer("Evil\n\x1b[31m\ud800"))
    with pytest.raises(InputError) as refusal:
        load_keras(path)
    assert str(refusal.value).isprintable()
