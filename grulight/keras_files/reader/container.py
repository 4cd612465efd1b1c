"""A Keras model file of any generation, opened safely: its configuration and its arrays.

The layout is recognised from the content (KERAS_FACTS section 4.5), nothing in the file is run,
and no array is read before the caller knows that its shape is the one the layer needs.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from grulight.errors import InputError, option
from grulight.keras_files.reader.archive import CONFIG, METADATA, WEIGHTS, read_archive
from grulight.keras_files.reader.attributes import Attributes
from grulight.keras_files.reader.compiled import Compiled, read_compiled
from grulight.keras_files.reader.headers import Headers
from grulight.keras_files.reader.links import members
from grulight.keras_files.reader.untrusted_text import MAX_JSON_BYTES, Json, parse_json, quote
from grulight.keras_files.reader.versions import KerasVersion
from grulight.keras_files.reader.weight_groups import (
    LegacyWeights,
    NativeWeights,
    legacy_weights,
    native_weights,
)

ZIP_MAGIC = b"PK\x03\x04"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_IGNORED = 20  # words on what else a file holds
NATIVE_ROOTS = ("layers", "_layer_checkpoint_dependencies")


@dataclass(frozen=True)
class Container:
    """A Keras file.

    Attributes:
        config: The model's configuration: `class_name` and `config`.
        version: The Keras that wrote the file.
        weights: The arrays, not read yet.
        ignored: What else the file holds, in words.
        compiled: What it was compiled with.
    """

    config: dict[str, Json]
    version: KerasVersion
    weights: NativeWeights | LegacyWeights
    ignored: tuple[str, ...]
    compiled: Compiled


def read_container(path: Path, config: str | Path | dict[str, Any] | None) -> Container:
    """Read a Keras file; its arrays are looked at when they are asked for.

    Args:
        path: The file.
        config: For a file of weights alone, the model's JSON: a file, or what it holds.

    Raises:
        InputError: The file is none of the known layouts, is damaged, or is refused.
    """
    magic = _magic(path)
    given = None if config is None else _given_config(config)
    if magic.startswith(ZIP_MAGIC):
        held = read_archive(path)
        version = parse_json(held.get(METADATA, b"{}"), METADATA).get("keras_version")
        found = parse_json(held.pop(CONFIG), CONFIG)
        content = held.pop(WEIGHTS)
    else:
        content, found, version = path.read_bytes(), None, None
    headers = Headers(content)
    if found is None:
        found = _json(headers, "model_config") or given
    if found is None:
        raise InputError(
            f"holds weights but no configuration. Pass {option('config', 'FILE')} with the "
            "model's JSON (model.to_json() in the program that made it)."
        )
    return _container(headers, found, version)


def _magic(path: Path) -> bytes:
    if path.is_dir():
        raise InputError("a folder, expected a file. Keras' SavedModel holds code: save as .keras.")
    if not path.is_file():
        raise InputError("no such file. Check the path.")
    with path.open("rb") as file:
        magic = file.read(8)
    if not magic.startswith((ZIP_MAGIC, HDF5_MAGIC)):
        raise InputError(
            f"starts with {magic!r}, so neither a .keras zip nor HDF5. Expected a Keras model "
            "(.keras, .h5, .hdf5, .weights.h5)."
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


def _json(headers: Headers, name: str) -> dict[str, Json] | None:
    text = Attributes(headers).text(headers.root, name, MAX_JSON_BYTES)
    return None if text is None else parse_json(text, name)


def _container(headers: Headers, config: dict[str, Json], version: Json) -> Container:
    """Recognise the layout from the names in the root group, and list the arrays."""
    attributes = Attributes(headers)
    tops = members(headers, headers.root)
    native = {name: at for name, at in tops.items() if _top(name) in NATIVE_ROOTS}
    group = tops.get("model_weights", headers.root)
    names = attributes.names(group, "layer_names")
    if names is None and not native:
        raise InputError(
            f"HDF5 with {', '.join(map(quote, [*tops][:5])) or 'nothing'} at its root, so no Keras "
            "model. Expected layers, model_weights or layer_names."
        )

    def text(name: str) -> str | None:
        found = attributes.text(group, name) or attributes.text(headers.root, name)
        return None if found is None else found.decode("ascii", "replace")

    weights: NativeWeights | LegacyWeights
    if names is None:
        weights, default = native_weights(headers, attributes, native), "3"
    else:
        weights, default = legacy_weights(headers, attributes, group, names), "1"
    version = version or config.get("keras_version") or text("keras_version")
    version = version if isinstance(version, str) else None
    parsed = KerasVersion.parse(version, default, text("backend") or "")
    if names is not None and parsed.major == 1 and not parsed.backend:
        parsed = replace(parsed, backend=_backend_of_keras_1(headers, attributes, group, names))
    training = _compiled(headers)
    compiled = read_compiled(config.get("compile_config") or training, parsed)
    ignored = ["training_config"] if training is not None else []
    ignored += ["compile_config"] if config.get("compile_config") else []
    if compiled.loss.known:
        ignored = [f"{each} but for its loss" for each in ignored]
    if names is None or group != headers.root:  # else the members of the root are the layers
        ignored += _ignored(tops)
    return Container(config, parsed, weights, tuple(ignored), compiled)


def _backend_of_keras_1(
    headers: Headers, attributes: Attributes, group: int, names: list[str]
) -> str:
    """Return what computed a file of Keras 1, which only the names of arrays tell.

    TensorFlow ends them in ":0", Theano does not; Theano turns the kernels of convolutions.
    """
    groups = members(headers, group)
    lists = (attributes.names(groups[name], "weight_names") for name in names if name in groups)
    arrays = [array for listed in lists for array in listed or []]
    return "theano" if arrays and not any(":" in array for array in arrays) else "tensorflow"


def _compiled(headers: Headers) -> Json:
    """Return what an HDF5 file says of `compile`, which nothing depends on: damaged is empty."""
    try:
        return _json(headers, "training_config")
    except InputError:
        return {}


def _top(name: str) -> str:
    return name.replace("\\", "/").partition("/")[0]


def _ignored(tops: Iterable[str]) -> list[str]:
    """Return what else lies at the root, the first few of it."""
    found = [*islice(_others(tops), MAX_IGNORED + 1)]
    return found if len(found) <= MAX_IGNORED else [*found[:-1], "and other groups"]


def _others(tops: Iterable[str]) -> Iterator[str]:
    for name in tops:
        if name in ("optimizer", "optimizer_weights"):
            yield "optimizer state"
        elif _top(name) not in ("model_weights", "vars", "top_level_model_weights", *NATIVE_ROOTS):
            yield f"root group {quote(name)}"
