"""A Keras model of any generation and format, opened safely: its configuration and its arrays.

The format is recognised from the content, nothing in the files is run, and no array is read
before the caller knows that its shape is the one the layer needs.
"""

import json
from pathlib import Path
from typing import Any

from grulight.errors import InputError
from grulight.keras_files.reader.archive import CONFIG, METADATA, WEIGHTS, read_archive
from grulight.keras_files.reader.compiled import read_compiled
from grulight.keras_files.reader.contents import Container
from grulight.keras_files.reader.folders import Directory, Folder, zipped
from grulight.keras_files.reader.hdf5_model import hdf5_model, json_of
from grulight.keras_files.reader.headers import Headers
from grulight.keras_files.reader.saved_model import METADATA as KERAS_METADATA
from grulight.keras_files.reader.saved_model import MODEL
from grulight.keras_files.reader.tensorflow_checkpoint import (
    checkpoint_of,
    read_checkpoint_files,
    read_saved_model,
)
from grulight.keras_files.reader.tensorflow_js import (
    NAME,
    is_tensorflow_js,
    read_model_json,
    read_tensorflow_js,
)
from grulight.keras_files.reader.untrusted_text import MAX_JSON_BYTES, Json, parse_json, quote
from grulight.keras_files.reader.versions import KerasVersion

ZIP_MAGIC = b"PK\x03\x04"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
SAVED_MODEL = (MODEL, KERAS_METADATA)


def read_container(path: Path, config: str | Path | dict[str, Any] | None) -> Container:
    """Read a Keras model; its arrays are looked at when they are asked for.

    Args:
        path: The file, or the folder of several.
        config: For a file of weights alone, the model's JSON: a file, or what it holds.

    Raises:
        InputError: It is none of the known formats, is damaged, or is refused.
    """
    given = None if config is None else _given_config(config)
    if path.name in SAVED_MODEL and path.is_file():
        path = path.parent
    if path.is_dir():
        return _of_folder(path, given)
    if (checkpoint := checkpoint_of(path)) is not None:
        return read_checkpoint_files(*checkpoint, _required(given))
    magic = _magic(path)
    if magic.lstrip().startswith(b"{"):
        return _of_json(Directory(path.parent), path.name, given)
    if magic.startswith(HDF5_MAGIC):
        headers = Headers(path.read_bytes())
        return hdf5_model(headers, _required(json_of(headers, "model_config") or given), None)
    with zipped(path, MODEL) as folder:
        if folder is not None:
            return read_saved_model(folder, given)
    with zipped(path, NAME) as folder:
        if folder is not None:
            return _of_json(folder, NAME, given)
    held = read_archive(path)
    version = parse_json(held.get(METADATA, b"{}"), METADATA).get("keras_version")
    found = parse_json(held.pop(CONFIG), CONFIG)
    return hdf5_model(Headers(held.pop(WEIGHTS[0])), found, version)


def _of_folder(path: Path, given: dict[str, Json] | None) -> Container:
    """Read a model that is a folder of several files."""
    folder = Directory(path)
    if any(map(folder.has, SAVED_MODEL)):
        return read_saved_model(folder, given)
    if folder.has(NAME):
        return _of_json(folder, NAME, given)
    if (checkpoint := checkpoint_of(path)) is not None:
        return read_checkpoint_files(*checkpoint, _required(given))
    raise InputError(
        f"a folder without {MODEL} (a SavedModel), {NAME} (TensorFlow.js) or a checkpoint of "
        "TensorFlow. Expected one of them, or a file of Keras."
    )


def _magic(path: Path) -> bytes:
    if not path.is_file():
        raise InputError("no such file. Check the path.")
    with path.open("rb") as file:
        magic = file.read(8)
    if not magic.startswith((ZIP_MAGIC, HDF5_MAGIC)) and not magic.lstrip().startswith(b"{"):
        raise InputError(
            f"starts with {magic!r}, so neither a .keras zip nor HDF5 nor JSON. Expected a Keras "
            "model (.keras, .h5, .hdf5, .weights.h5, or TensorFlow.js' model.json)."
        )
    return magic


def _given_config(config: str | Path | dict[str, Any]) -> dict[str, Json]:
    if isinstance(config, dict):
        try:
            text = json.dumps(config)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"config is no JSON ({error}). Pass model.to_json()'s.") from None
        return parse_json(text.encode(), "config")
    path = Path(config)
    if not path.is_file():
        raise InputError(f"config file {quote(path)} does not exist. Check the path.")
    with path.open("rb") as file:
        return parse_json(file.read(MAX_JSON_BYTES + 1), f"config {quote(path)}")


def _required(config: dict[str, Json] | None) -> dict[str, Json]:
    if config is None:
        raise InputError(
            "holds weights but no configuration. Pass config=FILE with the model's JSON "
            "(model.to_json() in the program that made it)."
        )
    return config


def _of_json(folder: Folder, name: str, given: dict[str, Json] | None) -> Container:
    """Read a model whose files a JSON file names."""
    model = read_model_json(folder, name)
    if not is_tensorflow_js(model):
        raise InputError(
            f"{quote(name)} is JSON without weights. Pass the file of weights, and this one as "
            "config."
        )
    found = read_tensorflow_js(model, folder)
    config = _required(found.config or given)
    version = found.version or config.get("keras_version")
    parsed = KerasVersion.parse(version if isinstance(version, str) else None, "2")
    training = config.get("compile_config") or found.training
    compiled = read_compiled(training, parsed)
    ignored = [*found.ignored]
    if training:
        ignored.append(f"training_config{' but for its loss' if compiled.loss.known else ''}")
    config = {**config, "compile_config": training}
    return Container(config, parsed, found.weights, tuple(ignored), compiled)
