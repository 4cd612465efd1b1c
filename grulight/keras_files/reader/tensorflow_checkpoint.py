"""SavedModels and TensorFlow's checkpoints as models: their configuration and their variables.

Both keep the variables in a bundle with the graph of objects; a SavedModel says of what model.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from grulight.errors import InputError, option
from grulight.keras_files.reader.bundle import Bundle
from grulight.keras_files.reader.folders import Directory, Folder, inner
from grulight.keras_files.reader.object_graph import ObjectGraph
from grulight.keras_files.reader.object_layers import ObjectWeights, object_weights
from grulight.keras_files.reader.saved_model import (
    METADATA,
    MODEL,
    VARIABLES,
    configuration,
    read_metadata,
)
from grulight.keras_files.reader.untrusted_text import Json, quote

SAVED_MODEL = (MODEL, METADATA)
STATE = "checkpoint"  # the text file that names the newest of a folder's checkpoints
NEWEST = re.compile(r'^\s*model_checkpoint_path:\s*"((?:[^"\\]|\\.){1,500})"', re.MULTILINE)
MAX_STATE = 1 << 20
INDEX = ".index"
SHARD = re.compile(r"\.data-\d{5}-of-\d{5}$")
DEFAULT = "2.4"  # of the Keras within TensorFlow, where nothing tells which


class Parts(NamedTuple):
    """What a model's files hold.

    Attributes:
        config: The model's configuration.
        default: The version of Keras that counts where nothing tells it.
        version: What the files say of it beside the configuration.
        weights: The variables, unread.
        training: What the model was compiled with.
        ignored: What else there is, in words.
    """

    config: dict[str, Json]
    default: str
    version: Json
    weights: ObjectWeights
    training: Json
    ignored: tuple[str, ...]


def read_saved_model(folder: Folder, given: dict[str, Json] | None) -> Parts:
    """Read a SavedModel; nothing is made of its graph.

    Args:
        folder: Where it lies.
        given: The model's configuration, for one that holds none.

    Raises:
        InputError: It is no Keras model, damaged, or refused.
    """
    if f"{VARIABLES}{INDEX}" not in folder:
        raise InputError(
            f"a SavedModel without {VARIABLES}{INDEX}, so without weights. Copy the whole folder."
        )
    graph = ObjectGraph(Bundle(folder, VARIABLES))
    metadata = read_metadata(folder, graph)
    if metadata is None:
        if given is None:
            raise InputError(
                "a SavedModel without Keras' metadata, so without the model's configuration: "
                f"tf.saved_model.save and export leave it out. Pass {option('config')}=FILE "
                "with the model's JSON (model.to_json()), or save it with model.save."
            )
        return _parts(graph, given)
    try:
        config, words = configuration(metadata)
    except InputError:
        if given is None:
            raise
        return _parts(graph, given)
    training = metadata.root.get("training_config")
    found = _parts(graph, config, metadata.names, training)
    return found if words is None else found._replace(ignored=(*found.ignored, words))


def read_checkpoint_files(folder: Folder, prefix: str, given: dict[str, Json]) -> Parts:
    """Read a checkpoint of TensorFlow.

    Args:
        folder: Where it lies.
        prefix: What the names of its files begin with.
        given: The model's configuration.

    Raises:
        InputError: It is of another model, damaged, or refused.
    """
    return _parts(ObjectGraph(Bundle(folder, prefix)), given)


def checkpoint_of(path: Path) -> tuple[Folder, str] | None:
    """Return where a checkpoint lies and how its files begin; None where there is none.

    Args:
        path: A file of it, how its files begin, or the folder.

    Raises:
        InputError: The folder holds several, or names one that is not there.
    """
    if path.is_dir():
        prefix = _newest(path)
        return None if prefix is None else (Directory(path), prefix)
    if path.name == STATE and path.is_file():
        return checkpoint_of(path.parent)
    name = SHARD.sub("", path.name.removesuffix(INDEX))
    itself = name == path.name and path.is_file()  # a file of another kind beside a checkpoint
    if not name or itself or not path.with_name(f"{name}{INDEX}").is_file():
        return None
    return Directory(path.parent), name


def _newest(path: Path) -> str | None:
    """Return which checkpoint of a folder counts: what its text file says, or the only one."""
    folder = Directory(path)
    if STATE in folder:
        match = NEWEST.search(folder.read(STATE, MAX_STATE).decode("utf-8", "replace"))
        name = (
            re.split(r"[/\\]", match[1])[-1] if match else ""
        )  # the path may be another machine's
        if name and f"{inner(name)}{INDEX}" in folder:
            return name
    found = sorted(each.name.removesuffix(INDEX) for each in path.glob(f"*{INDEX}"))
    if len(found) > 1:
        raise InputError(
            f"a folder of several checkpoints ({', '.join(map(quote, found[:5]))}). Pass one of "
            "them."
        )
    return found[0] if found else None


def _parts(
    graph: ObjectGraph,
    config: dict[str, Json],
    names: Mapping[int, str] = MappingProxyType({}),
    training: Json = None,
) -> Parts:
    default = "3" if "module" in config else DEFAULT
    ignored = ("optimizer state",) if "optimizer" in graph.children(0) else ()
    weights = object_weights(graph, config, names)
    return Parts(config, default, None, weights, training, ignored)
