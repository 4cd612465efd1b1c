"""An HDF5 file as a model: its configuration, its version, its arrays, and what else it holds.

The layout is recognised from the names in it (KERAS_FACTS section 4.5).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from grulight.errors import InputError
from grulight.keras_files.reader.attributes import Attributes
from grulight.keras_files.reader.compiled import read_compiled
from grulight.keras_files.reader.contents import Container
from grulight.keras_files.reader.headers import Headers
from grulight.keras_files.reader.links import members
from grulight.keras_files.reader.untrusted_text import MAX_JSON_BYTES, Json, parse_json, quote
from grulight.keras_files.reader.versions import KerasVersion
from grulight.keras_files.reader.weight_groups import (
    NATIVE_ROOTS,
    LegacyWeights,
    NativeWeights,
    legacy_weights,
    native_weights,
)

MAX_IGNORED = 20  # words on what else a file holds


def json_of(headers: Headers, name: str) -> dict[str, Json] | None:
    """Return the JSON in an attribute of the root, if it is there."""
    text = Attributes(headers).text(headers.root, name, MAX_JSON_BYTES)
    return None if text is None else parse_json(text, name)


def hdf5_model(headers: Headers, config: dict[str, Json], version: Json) -> Container:
    """Recognise the layout from the names in the root group, and list the arrays.

    Args:
        headers: The file.
        config: The model's configuration.
        version: The Keras that wrote it, where something beside the file tells.

    Raises:
        InputError: It is no model, damaged, or refused.
    """
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
        return json_of(headers, "training_config")
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
