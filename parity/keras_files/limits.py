"""What a check of a Keras file does not cover: settings changed before Keras was asked."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py

from grulight.keras_files.compiled_words import compile_words
from grulight.keras_files.layers.base import KerasLayer
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.reader.compiled import read_compiled
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.reader.versions import KerasVersion
from parity.keras_files.file_questions import FileQuestions
from parity.keras_files.names_in_file import said_major
from parity.result import Limit

EXACT = ("float32", "float64")
# Settings that draw random numbers; the copies that both sides are asked of have them at zero.
NOISE = ("rate", "dropout", "recurrent_dropout", "stddev")
OPEN = ("stateful", "lora_rank", "quantization_config")
MOST = 3  # layers named in one line
LOSSES = {
    "categorical": "categorical_crossentropy",
    "binary": "binary_crossentropy",
    "squared error": "mean_squared_error",
}


def limits_of(
    path: Path,
    model: PortedModel,
    config: Mapping[str, Json],
    questions: FileQuestions,
    as_compiled: bool = False,
) -> list[Limit]:
    """Return what the verdict on a file leaves out, in words.

    Args:
        path: The file.
        model: The port.
        config: The file's configuration.
        questions: What is asked.
        as_compiled: Whether both sides also train with what the port takes over of `compile`.
    """
    found = [*_of_layers(model, as_compiled), *_of_precision(config)]
    if draws := [*_named(config, NOISE)]:
        found.append(Limit(f"dropout and noise are off on both sides ({_some(draws)})"))
    layers = [each for each in model.modules() if isinstance(each, KerasLayer)]
    if awake := [each.keras_name for each in layers if each.always]:
        found.append(
            Limit(f"{_some(awake)} is called as in training in the file, and compared in inference")
        )
    text = _compiled(path, config, questions.heads)
    if text is not None and as_compiled:
        if left := (model.description.get("compiled") or {}).get("dropped"):
            found.append(Limit(f"compiled with, and no rung trains with it: {', '.join(left)}"))
    elif text is not None:
        found.append(
            Limit(
                f"the file was compiled with {text}; rungs 2 to 5 take Keras' losses of "
                f"{', '.join(sorted(set(questions.heads.values())))} and Adam at 0.001 instead"
            )
        )
    if not questions.settings["trained"]:
        found.append(Limit("no weight of the model trains, so rungs 4 and 5 are left out"))
    return found


def _of_layers(model: PortedModel, as_compiled: bool) -> Iterator[Limit]:
    """Yield what the port leaves out of layers: state between batches, terms of the loss."""
    held: dict[str, list[str]] = {}
    for row in model.table:
        for setting in (*row.ignored, *(() if as_compiled else row.training)):
            held.setdefault(setting.partition(" ")[0], []).append(row.name)
        if row.keras == "ActivityRegularization" and not as_compiled:
            held.setdefault("activity_regularizer", []).append(row.name)
    for setting, names in held.items():
        some = _some(names)
        if setting == "stateful":
            text = f"{some} keeps its state from one batch to the next (stateful) in Keras, and "
            yield Limit(f"{text}starts every batch from zero in the port", open=True)
        elif setting in OPEN:
            yield Limit(f"{some} was asked of Keras without its {setting}", open=True)
        elif setting.endswith(("_regularizer", "_constraint")):
            text = "add to the loss" if setting.endswith("r") else "change weights after each step"
            yield Limit(f"{setting} of {some} would {text}; no rung trains with it")


def _of_precision(config: Mapping[str, Json]) -> Iterator[Limit]:
    """Yield the precisions of a file that neither side was asked in."""
    names = {
        str(value.get("config", {}).get("name")) if isinstance(value, dict) else str(value)
        for _, value in _settings(config, ("dtype", "dtype_policy"))
        if isinstance(value, str | dict)
    }
    if low := sorted(name for name in names if "float" in name and name not in EXACT):
        yield Limit(
            f"the file computes in {', '.join(map(quote, low))}, which keeps two to three digits, "
            "and both sides were asked in float64 and float32",
            open=True,
        )


def _named(config: Mapping[str, Json], keys: tuple[str, ...]) -> Iterator[str]:
    for name, value in _settings(config, keys):
        if isinstance(value, int | float) and value:
            yield name


def _settings(config: Any, keys: tuple[str, ...], name: str = "") -> Iterator[tuple[str, Json]]:
    """Yield layer and value of every setting with one of these names, but for compilation."""
    if isinstance(config, list):
        for each in config:
            yield from _settings(each, keys, name)
    if not isinstance(config, dict):
        return
    name = str(config.get("name", name)) if "class_name" not in config else name
    for key, value in config.items():
        if key in keys:
            yield name, value
        if key != "compile_config":
            yield from _settings(value, keys, name)


def _compiled(path: Path, config: Mapping[str, Json], heads: Mapping[str, str]) -> str | None:
    """Return what a file was compiled with, where the rungs take something else."""
    found = read_compiled(recorded(path, config), KerasVersion.parse(None, "3"))
    loss, name = found.loss, found.optimizer_name
    if loss.name is None and name is None:
        return None
    plain = ({"name": LOSSES[kind], "from_logits": False} for kind in heads.values())
    if found.as_ever and all(loss.known == each for each in plain):
        return None
    settings = [*compile_words(found.described, loss.known or {}), *found.dropped]
    listed = f" ({', '.join(settings)})" if settings else ""
    return f"optimizer {quote(name)} and loss {quote(loss.name)}{listed}"


def recorded(path: Path, config: Mapping[str, Json]) -> Json:
    """Return what a file says of `compile`, if anything."""
    return config.get("compile_config") or _training_config(path)


def _training_config(path: Path) -> Json:
    """Return how an HDF5 file says it was compiled; the reader has looked at the file before."""
    if not h5py.is_hdf5(path):
        return None
    with h5py.File(path, "r") as file:
        text = file.attrs.get("training_config")
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def _some(names: list[str]) -> str:
    unique = [*dict.fromkeys(names)]
    more = f" and {len(unique) - MOST} more" if len(unique) > MOST else ""
    return ", ".join(map(quote, unique[:MOST])) + more


def misread_version(path: Path, model: PortedModel) -> list[Limit]:
    """Return what the file says of its own version, where the port took it for another's."""
    said, taken = (
        said_major(path),
        KerasVersion.parse(model.description["keras_version"], "3").major,
    )
    if said in (None, taken):
        return []
    text = f"the file says that Keras {said} wrote it, and the port reads it as of Keras {taken}"
    return [Limit(text, open=True)]
