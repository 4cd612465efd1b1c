"""Which data a run read, by the ``config.yaml`` in its directory: plain values, no classes."""

import re
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from grulight.data.datamodule import SequenceDataModule
from grulight.errors import InputError

_MOST_BYTES = 1 << 18  # a run's own has 2 kB, and YAML is read slowly
_LONGEST = 4096  # letters of a name or a path
_LARGEST = 1 << 53  # what float holds exactly
_FILES = ("test_source", "labels_file", "lengths_file")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # a terminal would obey them


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # comes without types
    """YAML without references: a few of them can stand for more than memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it has references (*name)")
        return super().compose_node(parent, index)


def data_settings(
    path: Path, source: str | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Return what the user says of the data, else what the checkpoint's run says.

    Args:
        path: A checkpoint.
        source: Where sequences come from, as ``--data.source``, if the user says so.
        say: Is told which data the run's ``config.yaml`` has chosen.

    Returns:
        Arguments of :class:`SequenceDataModule`, of the types that its signature has.

    Raises:
        InputError: There is a ``config.yaml`` that says anything else.
    """
    if source is not None:
        return {"source": source}
    config = path.resolve().parent.parent / "config.yaml"
    settings = _settings(config)
    if settings is None:
        return {}
    others = (f"{key} {settings[key]}" for key in _FILES if settings.get(key))
    chosen = ", ".join([settings.get("source", "waves"), *others])
    say(f"data: {chosen}, as {config} beside the checkpoint says")
    return settings


def _settings(config: Path) -> dict[str, Any] | None:
    """Return the settings of the data, checked; None where there is no such file."""
    try:
        if not config.exists():
            return None
        if not config.is_file():
            raise ValueError("it is no regular file")
        with config.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
        read = yaml.load(content.decode(), _PlainLoader)  # no tag of it makes anything but data
        return _checked(read.get("data") if isinstance(read, dict) else None)
    except Exception as error:  # PyYAML lets through whatever its constructors happen to raise
        said = " ".join(str(error)[:200].split()) or type(error).__name__
        raise InputError(
            f"{config}: cannot be read; name the data with --data ({said})."
        ) from error


def _checked(settings: Any) -> dict[str, Any]:
    """Return settings that the data module's signature has.

    Raises:
        ValueError: There are others, or they are of other types or out of range.
    """
    if not isinstance(settings, dict):
        raise ValueError("'data' is missing or no mapping of settings")
    hints = get_type_hints(SequenceDataModule.__init__)
    del hints["return"]
    for key, value in settings.items():
        if not isinstance(key, str) or key not in hints:
            raise ValueError(f"'data' has the unknown setting {str(key)[:60]!r}")
        if not _fits(value, hints[key]):
            wanted = getattr(hints[key], "__name__", None) or str(hints[key])
            raise ValueError(f"data.{key} is {type(value).__name__} or out of range, not {wanted}")
    return settings


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value has a type of the signature, and is of a sane size."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind is Literal:
        return value in parts
    if kind is list:
        return isinstance(value, list) and all(_fits(each, parts[0]) for each in value)
    if type(value) not in ((int, float) if hint is float else (hint,)):
        return False
    if isinstance(value, str):
        return len(value) <= _LONGEST and not _CONTROL.search(value)
    return value is None or abs(value) <= _LARGEST
