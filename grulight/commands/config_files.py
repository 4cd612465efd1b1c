"""Config files and options of the command line, checked before the parser takes them."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from grulight.data.description import DESCRIPTION
from grulight.errors import InputError, one_line

# options of the data that say what the model takes from them
_DATA_OPTIONS = {
    **dict.fromkeys(("mean", "scale"), "standardize"),
    **{name: name for name in ("num_classes", "per_step", "class_names", "offset")},
    "feature_names": "features",
    "num_values": "targets",
}


def with_shipped_configs(arguments: Sequence[str]) -> list[str]:
    """Let ``--config`` take the name of a file in ``grulight/configs`` as well.

    Raises:
        InputError: A file that is named holds no settings.
    """
    found, after_config = [], False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        name = argument if after_config else value if option == "--config" and equals else None
        after_config = argument == "--config"
        if name is not None and not Path(name).exists():
            shipped = files("grulight") / "configs" / f"{name}.yaml"
            argument = argument.removesuffix(name) + (str(shipped) if shipped.is_file() else name)
        elif name is not None:
            _settings(name)
        found.append(argument)
    return found


def _settings(path: str) -> Mapping[Any, Any]:
    """Return what a config file holds; the parser would not name it where it cannot be read.

    Raises:
        InputError: It is not a text of YAML, or names no settings.
    """
    try:
        found = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(f"--config {path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = one_line(" ".join(str(error).split()), 200)
        raise InputError(f"--config {path}: is not a YAML file ({said}).") from error
    if not isinstance(found, dict):
        raise InputError(
            f"--config {path}: holds no settings. Expected lines such as `trainer:` and, indented "
            "below it, `max_epochs: 5`; a run's config.yaml is an example."
        )
    return found


def require_undescribed(arguments: Sequence[str]) -> None:
    """Refuse options of the model that the data decide; the parser drops those of a file.

    Raises:
        InputError: There is one.
    """
    for name, where in _of_model(arguments):
        if name in DESCRIPTION:
            instead = _DATA_OPTIONS.get(name)
            advice = f"--data.{instead} is the option" if instead else "leave it out"
            raise InputError(f"{where}: the data decide it; {advice}.")


def _of_model(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of the model that are given, and where each is."""
    for argument, following in pairwise([*arguments, ""]):
        option, equals, value = argument.partition("=")
        if option.startswith("--model."):
            yield option.removeprefix("--model."), option
        path = value if equals else following
        if option == "--config" and Path(path).is_file():
            model = _settings(path).get("model")
            for name in model if isinstance(model, dict) else ():
                yield str(name), f"--config {path}, model.{name}"
