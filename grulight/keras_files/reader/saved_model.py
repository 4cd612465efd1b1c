"""SavedModel directories: what Keras notes of the model beside the graph, which is never run.

`keras_metadata.pb`, or before TensorFlow 2.5 the objects within `saved_model.pb`, hold JSON: the
configuration of the model, and the name of each layer (KERAS_FACTS section 7.1).
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from grulight.errors import InputError
from grulight.keras_files.reader.folders import Folder
from grulight.keras_files.reader.object_graph import (
    MAX_NODES,
    Links,
    ObjectGraph,
    node_at,
    nodes_of,
)
from grulight.keras_files.reader.protobuf_messages import parse, parts
from grulight.keras_files.reader.untrusted_text import Json, parse_json, quote

MODEL = "saved_model.pb"
METADATA = "keras_metadata.pb"
VARIABLES = "variables/variables"
MAX_METADATA = 64 << 20
MAX_MODEL = 1 << 30
MAX_NAMES = 20_000
META_GRAPHS, OBJECTS = 2, 7  # fields of SavedModel and MetaGraphDef
MAX_FIELDS = 100_000  # of each of them
# The way from the root to a layer: of models inside models, and through wrappers.
STEP = r"(?:layer(?:_with_weights)?-\d{1,5}|layer|forward_layer|backward_layer)"
LAYER = re.compile(STEP)
PATH = re.compile(rf"root(?:\.{STEP}){{1,40}}")
WRAPPERS = ("__tuple__", "TensorShape")
NETWORKS = {"_tf_keras_sequential": "Sequential", "_tf_keras_network": "Functional"}
KNOWN = ("Sequential", "Functional", "Model")
ADVICE = "Build the model in code, load_weights, and save it as .keras."


@dataclass(frozen=True)
class Metadata:
    """What Keras notes of a model.

    Attributes:
        root: Of the whole model.
        identifier: What kind of object it is.
        names: The names of layers, by object.
    """

    root: dict[str, Json]
    identifier: str
    names: Mapping[int, str]


def read_metadata(folder: Folder, graph: ObjectGraph) -> Metadata | None:
    """Return what Keras notes of a model; None where it notes nothing.

    Args:
        folder: The SavedModel.
        graph: The objects of its variables, in whose numbers the names are given.

    Raises:
        InputError: The metadata are damaged or too large.
    """
    if METADATA in folder:
        found = [*_from_metadata(folder.read(METADATA, MAX_METADATA), graph)]
    elif MODEL in folder:
        found = [*_from_saved_model(folder.read(MODEL, MAX_MODEL), graph)]
    else:
        found = []
    if not found or found[0][0] != 0 or not found[0][2]:
        return None
    _, identifier, text = found[0]
    names = {node: name for node, _, each in found[1:] if (name := _name(each)) is not None}
    return Metadata(plain(parse_json(text, "the model's metadata")), identifier, names)


def configuration(metadata: Metadata) -> tuple[dict[str, Json], str | None]:
    """Return the model's configuration, and what of it is not taken over, in words.

    Raises:
        InputError: The model is a class of somebody's own, which only its code describes.
    """
    root = metadata.root
    held = root.get("model_config")
    entry = held if isinstance(held, dict) and _has_layers(held) else root
    kind = str(entry.get("class_name"))
    if not _has_layers(entry):
        raise InputError(
            f"the model is a {quote(kind)}: a class of somebody's own, of which a SavedModel "
            f"keeps the graph alone, and that is code. {ADVICE}"
        )
    version: dict[str, Json] = {
        key: root[key] for key in ("keras_version", "backend") if key in root
    }
    config = {**version, "class_name": kind, "config": entry["config"]}
    if kind in KNOWN or metadata.identifier not in NETWORKS:
        return config, None
    words = f"that the model is a {quote(kind)}, a class of somebody's own: its layers are ported"
    return {**config, "class_name": NETWORKS[metadata.identifier]}, words


def plain(value: Json) -> Json:
    """Return JSON with lists in place of Keras' notes on tuples and shapes."""
    if isinstance(value, dict):
        if value.get("class_name") in WRAPPERS and isinstance(value.get("items"), list):
            return plain(value["items"])
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def _has_layers(entry: Mapping[str, Json]) -> bool:
    config = entry.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config
    return isinstance(layers, list) and bool(layers)


def _name(text: bytes) -> str | None:
    """Return the name in a layer's metadata; damaged ones name nothing."""
    try:
        name = parse_json(text, "a layer's metadata").get("name")
    except InputError:
        return None
    return name if isinstance(name, str) else None


Found = Iterator[tuple[int, str, bytes]]  # object, what kind it is, and its metadata: root first


def _from_metadata(data: bytes, graph: ObjectGraph) -> Found:
    layers: list[tuple[int, str, bytes]] = []
    for each in parts(data, 1, MAX_NODES, quote(METADATA)):
        node = parse("MetadataNode", each, quote(METADATA))
        path = node.node_path.decode("utf-8", "replace")
        if path == "root":
            yield 0, _text(node.identifier), node.metadata
        elif PATH.fullmatch(path) and len(layers) < MAX_NAMES:
            number = _follow(graph, path.split(".")[1:])
            if number is not None:
                layers.append((number, "", node.metadata))
    yield from layers


def _follow(graph: ObjectGraph, steps: list[str]) -> int | None:
    node: int | None = 0
    for step in steps:
        node = None if node is None else graph.children(node).get(step)
    return node


def _from_saved_model(data: bytes, graph: ObjectGraph) -> Found:
    """Walk the objects of `saved_model.pb` beside those of its variables."""
    where = quote(MODEL)
    graphs = parts(data, META_GRAPHS, MAX_FIELDS, where)
    if len(graphs) > 1:
        raise InputError(f"{where} holds {len(graphs)} models, expected 1.")
    objects = [each for graph in graphs for each in parts(graph, OBJECTS, MAX_FIELDS, where)]
    if not objects:
        return
    nodes = nodes_of(objects[0], where)
    links = Links()
    queue, seen = deque([(0, 0)]), {0}
    while queue:
        number, twin = queue.popleft()
        node = parse("SavedObject", node_at(nodes, number), where)
        user = node.user_object
        yield twin, _text(user.identifier), user.metadata
        twins = graph.children(twin)
        for name, child in links.of(node).items():
            if LAYER.fullmatch(name) and name in twins and child not in seen:
                seen.add(child)
                queue.append((child, twins[name]))


def _text(data: Any) -> str:
    return bytes(data).decode("utf-8", "replace")
