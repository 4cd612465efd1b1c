"""A Keras model of any generation and format, opened safely: its configuration and its arrays.

The format is recognised from the content, nothing in the files is run, and no array is read
before the caller knows that its shape is the one the layer needs.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from grulight.errors import InputError, option
from grulight.files import IS_ADDRESS, is_address
from grulight.keras_files.reader.archive import open_archive
from grulight.keras_files.reader.compiled import read_compiled
from grulight.keras_files.reader.contents import Container
from grulight.keras_files.reader.folders import Directory, Folder, zipped_folder
from grulight.keras_files.reader.hdf5_model import hdf5_model, json_of
from grulight.keras_files.reader.headers import Headers
from grulight.keras_files.reader.npz import is_npz, read_npz
from grulight.keras_files.reader.sharded import is_sharded, read_shards
from grulight.keras_files.reader.tensorflow_checkpoint import (
    SAVED_MODEL,
    checkpoint_of,
    read_checkpoint_files,
    read_saved_model,
)
from grulight.keras_files.reader.tensorflow_js import MODEL, is_tensorflow_js, read_tensorflow_js
from grulight.keras_files.reader.untrusted_text import MAX_JSON_BYTES, Json, parse_json, quote
from grulight.keras_files.reader.versions import KerasVersion
from grulight.keras_files.reader.vocabulary import asset_vocabularies
from grulight.keras_files.reader.weight_groups import Weights

ZIP_MAGIC = b"PK\x03\x04"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
CONFIG = "config.json"
METADATA = "metadata.json"
HDF5, NPZ = "model.weights.h5", "model.weights.npz"


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
    folder = Directory(path)
    main = any(name in folder for name in (CONFIG, MODEL, *SAVED_MODEL))
    if not main and (checkpoint := checkpoint_of(path)) is not None:
        return _container(*read_checkpoint_files(*checkpoint, _required(given)))
    if path.is_dir():
        return _of_folder(folder, given, "a folder")
    magic = _magic(path)
    if magic.lstrip().startswith(b"{"):
        return _of_json(Directory(path.parent), path.name, given)
    if magic.startswith(ZIP_MAGIC):
        return _of_zip(path, given)
    headers = Headers(path.read_bytes())
    return hdf5_model(headers, _required(json_of(headers, "model_config") or given), None)


def _magic(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(IS_ADDRESS if is_address(path) else "no such file. Check the path.")
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
            f"holds weights but no configuration. Pass {option('config')}=FILE with the "
            "model's JSON (model.to_json() in the program that made it)."
        )
    return config


def _of_zip(path: Path, given: dict[str, Json] | None) -> Container:
    with path.open("rb") as file, open_archive(file) as (archive, members):
        if is_npz(members):
            weights, ignored = read_npz(path.read_bytes())
            return _container(_required(given), "3", None, weights, None, ignored)
        folder = zipped_folder(
            archive, members, (CONFIG, MODEL, SAVED_MODEL[0]), path.stat().st_size
        )
        if folder is None:
            raise InputError(
                f"a zip without {CONFIG}, {MODEL} or {SAVED_MODEL[0]}, so not a Keras model. "
                "Expected a .keras file, or a zip of one model's folder."
            )
        return _of_folder(folder, given, "a zip")


def _of_folder(folder: Folder, given: dict[str, Json] | None, what: str) -> Container:
    """Read the files of a `.keras` zip, of a SavedModel, or of TensorFlow.js."""
    if any(name in folder for name in SAVED_MODEL):
        return _container(*read_saved_model(folder, given))
    weighted = HDF5 in folder or NPZ in folder  # else any program's config.json may be there
    if MODEL in folder and not (CONFIG in folder and weighted):
        return _of_json(folder, MODEL, given)
    if CONFIG not in folder:
        raise InputError(
            f"{what} without {CONFIG} or {MODEL}, {SAVED_MODEL[0]} or a checkpoint of TensorFlow. "
            "Expected a file, or the folder of one model."
        )
    metadata = folder.read(METADATA, MAX_JSON_BYTES) if METADATA in folder else b"{}"
    version = parse_json(metadata, METADATA).get("keras_version")
    config = parse_json(folder.read(CONFIG, MAX_JSON_BYTES), CONFIG)
    if HDF5 in folder:
        found = hdf5_model(Headers(folder.read(HDF5)), config, version)
        return replace(found, vocabularies=asset_vocabularies(folder, config))
    if NPZ not in folder:
        raise InputError(f"{what} without weights, expected {HDF5} or {NPZ}. Save it again.")
    weights, ignored = read_npz(folder.read(NPZ))
    return _container(config, "3", version, weights, None, ignored)


def _of_json(folder: Folder, name: str, given: dict[str, Json] | None) -> Container:
    """Read a model whose files a JSON file names."""
    index = parse_json(folder.read(name, MAX_JSON_BYTES), name)
    if is_sharded(index):
        weights, ignored = read_shards(index, folder)
        return _container(_required(given), "3", None, weights, None, ignored)
    if not is_tensorflow_js(index):
        raise InputError(
            f"{quote(name)} is JSON without weights. Pass the file of weights, and this one as "
            "config."
        )
    found = read_tensorflow_js(index, folder)
    config = _required(found.config or given)
    return _container(config, "2", found.version, found.weights, found.training, found.ignored)


def _container(
    config: dict[str, Json],
    default: str,
    version: Json,
    weights: Weights,
    training: Json,
    ignored: tuple[str, ...],
) -> Container:
    """Return a model whose parts have been read; ``default`` is the version where none is said."""
    version = version or config.get("keras_version")
    parsed = KerasVersion.parse(version if isinstance(version, str) else None, default)
    key = "compile_config" if config.get("compile_config") else "training_config"
    training = config.get("compile_config") or training
    compiled = read_compiled(training, parsed)
    if training:
        ignored += (f"{key}{' but for its loss' if compiled.loss.known else ''}",)
    return Container(
        {**config, "compile_config": training}, parsed, weights, tuple(ignored), compiled
    )
