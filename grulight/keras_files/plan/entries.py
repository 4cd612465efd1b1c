"""The entries of a model's configuration, one for each layer: their names and classes."""

from collections.abc import Mapping
from typing import Any

from grulight.errors import InputError
from grulight.keras_files.plan.dialect import translate
from grulight.keras_files.plan.parse_context import ParseContext
from grulight.keras_files.plan.tf_operations import MODULE, as_operation
from grulight.keras_files.reader.untrusted_text import Json, quote

Entry = Mapping[str, Any]
Entries = dict[str, Entry]


def by_name(layers: list[Json]) -> Entries:
    """Return the entries by the names of their layers.

    Raises:
        InputError: One has no class, or two have one name.
    """
    entries: Entries = {}
    for at, entry in enumerate(layers):
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
            raise InputError(f"layer {at} has no class_name. Expected what Keras writes.")
        config = entry.get("config")
        name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
        name = name if isinstance(name, str) else f"{entry['class_name'].lower()}_{at}"
        if name in entries:
            raise InputError(f"two layers are called {quote(name)}. Refused as ambiguous.")
        entries[name] = as_operation(name, entry)
    return entries


def kind_of(entry: Entry, context: ParseContext) -> str:
    """Return the class of a layer in the words of current Keras, whatever its settings."""
    if is_operation(entry, context):
        return f"operation {entry['class_name']}"
    kind = entry["class_name"]
    if kind == "RNN":
        return "GRU"  # if its cell is one; otherwise it is refused when it is read
    config = entry.get("config")
    return translate(kind, config if isinstance(config, dict) else {}, context.version)[0]


def is_operation(entry: Entry, context: ParseContext) -> bool:
    """Return whether an entry is a bare operation.

    `.keras` files of Keras 3 give the module; its HDF5 files do not, but only layers are
    `trainable`.
    """
    config = entry.get("config")
    if not isinstance(config, dict):
        return False
    if "module" in entry:
        return str(entry["module"]).startswith(MODULE)
    named = entry["class_name"] in context.operations and "trainable" not in config
    return context.version.major >= 3 and named
