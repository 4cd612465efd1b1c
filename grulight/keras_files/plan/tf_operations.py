"""Operations on tensors as both generations write them, in one form: that of Keras 3.

tf.keras 2.4 on keeps TensorFlow's functions as layers TFOpLambda and SlicingOpLambda, their
arguments in the connections (tf_keras/src/layers/core/tf_op_layer.py). Keras 3 keeps most in the
settings. Here every argument that is no tensor becomes a setting.
"""

from collections.abc import Mapping
from typing import Any

from grulight.errors import InputError
from grulight.keras_files.plan.tf_names import FUNCTIONS, WORDS
from grulight.keras_files.reader.untrusted_text import Json, quote

MODULE = "keras.src.ops"
TENSOR = "__keras_tensor__"
LAYERS = ("TFOpLambda", "SlicingOpLambda")
CONSTANT = "_CONSTANT_VALUE"
POSITIONAL = {"GetItem": "index", "Take": "indices"}  # Keras 3's arguments that become settings

INERT = {"name": None, "conjugate": False, "validate_indices": None, "batch_dims": 0}
TENSOR_WORDS = ("y", "b", "x")  # in the order in which the functions take them


def as_operation(name: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an entry of a model's layers with an operation of TensorFlow in Keras 3's form."""
    if entry["class_name"] in LAYERS:
        config = entry.get("config")
        function = config.get("function") if isinstance(config, dict) else None
        words = FUNCTIONS.get(str(function).removeprefix("compat.v1."))
        nodes = entry.get("inbound_nodes")
        if words is None or not isinstance(nodes, list):
            return {**entry, "class_name": f"{entry['class_name']} {function}"}
        return _of_tensorflow(name, words, nodes)
    if entry["class_name"] in POSITIONAL and str(entry.get("module", MODULE)).startswith(MODULE):
        return _of_keras_3(name, POSITIONAL[entry["class_name"]], entry)
    return entry


def _of_tensorflow(name: str, function: str, nodes: list[Json]) -> Mapping[str, Any]:
    settings: dict[str, Json] | None = None
    calls = []
    for node in nodes:
        args, words = arguments(name, node)
        tensors = [words.pop(word) for word in _tensor_words(function) if word in words]
        held = {_word(function, key): each for key, each in words.items() if _acts(key, each)}
        if settings not in (None, held):
            raise InputError(f"operation {quote(name)} is called in two ways. Refused.")
        settings = held
        calls.append({"args": args + [_tensor(each) for each in tensors], "kwargs": {}})
    settings = settings or {}
    if function == "Split" and isinstance(settings.get("indices_or_sections"), list):
        function, settings["sizes"] = "SplitBySizes", settings["indices_or_sections"]
    return {
        "class_name": function,
        "module": MODULE,
        "config": settings,
        "name": name,
        "inbound_nodes": calls,
    }


def _tensor_words(function: str) -> tuple[str, ...]:
    return ("x", "y") if function == "Where" else TENSOR_WORDS


def _word(function: str, key: str) -> str:
    return "shape" if (function, key) == ("BroadcastTo", "shape") else WORDS.get(key, key)


def _acts(key: str, value: Json) -> bool:
    return not (key in INERT and value == INERT[key]) and key not in ("name", "out_type")


def arguments(name: str, node: Json) -> tuple[list[Json], dict[str, Json]]:
    """Return the first arguments of a call and its words; lists repeat the words per tensor."""
    words: dict[str, Json] = {}
    args: list[Json] = []
    entries = node if isinstance(node, list) and node and isinstance(node[0], list) else [node]
    for entry in entries:
        if not isinstance(entry, list) or len(entry) not in (3, 4):
            raise InputError(f"operation {quote(name)}: cannot read its connections. Refused.")
        words |= entry[3] if len(entry) == 4 and isinstance(entry[3], dict) else {}
        args.append(entry[2] if entry[0] == CONSTANT else _tensor(entry[:3]))
    return args, words


def _tensor(entry: Json) -> Json:
    """Return a place as Keras 3 has it, and numbers as they are."""
    if isinstance(entry, list) and len(entry) >= 3 and isinstance(entry[0], str):
        return {"class_name": TENSOR, "config": {"keras_history": entry[:3]}}
    return entry


def _of_keras_3(name: str, word: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Make the second argument of every call a setting."""
    nodes = entry.get("inbound_nodes")
    found, calls = [], []
    for node in nodes if isinstance(nodes, list) else []:
        args = node.get("args") if isinstance(node, dict) else None
        if not isinstance(args, list) or len(args) != 2:
            raise InputError(f"operation {quote(name)}: cannot read its connections. Refused.")
        index = args[1]
        if isinstance(index, dict) and index.get("class_name") == "__tuple__":
            index = index.get("items")
        found.append(index if isinstance(index, list) or word != "index" else [index])
        calls.append({**node, "args": args[:1]})
    if not found or any(each != found[0] for each in found):
        raise InputError(f"operation {quote(name)} is called in two ways. Refused.")
    config = entry.get("config")
    settings = {**(config if isinstance(config, dict) else {}), word: found[0]}
    return {**entry, "module": MODULE, "config": settings, "inbound_nodes": calls}
