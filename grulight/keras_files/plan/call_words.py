"""What calls of attention say by name, in one form: tensors in order, switches as settings.

Keras 2 and 3 write `layer(query, value, key=..., use_causal_mask=True)` in many ways. Here the
tensors become the inputs of a call, the masks the masks of these inputs, and switches settings.
"""

from typing import Any

from grulight.errors import InputError
from grulight.keras_files.plan.entries import Entries, Entry, by_name
from grulight.keras_files.plan.tf_operations import arguments
from grulight.keras_files.reader.untrusted_text import Json, quote

SWITCHED = ("MultiHeadAttention", "Attention", "AdditiveAttention")
SWITCHES = ("use_causal_mask", "return_attention_scores")
TENSORS = ("query", "value", "key")
MASKS = tuple(f"{name}_mask" for name in TENSORS)


def named_entries(layers: list[Json]) -> Entries:
    """Return the entries of a model by the names of their layers, calls in one form."""
    return {name: _in_one_form(name, entry) for name, entry in by_name(layers).items()}


def _in_one_form(name: str, entry: Entry) -> Entry:
    nodes, config = entry.get("inbound_nodes"), entry.get("config")
    if entry["class_name"] not in SWITCHED or not isinstance(config, dict):
        return entry
    if not isinstance(nodes, list) or not nodes:
        return entry
    calls, settings = [], []
    for node in nodes:
        args, words = _given(name, node)
        settings.append({word: words.pop(word) for word in SWITCHES if word in words})
        if entry["class_name"] == "MultiHeadAttention":
            args, words = _of_heads(name, args, words)
        calls.append({"args": args, "kwargs": words})
    if any(each != settings[0] for each in settings):
        raise InputError(f"layer {quote(name)} is called in two ways. Refused.")
    return {**entry, "config": {**config, **settings[0]}, "inbound_nodes": calls}


def _given(name: str, node: Json) -> tuple[list[Json], dict[str, Any]]:
    """Return the arguments of a call in either Keras' form, those by name apart."""
    if isinstance(node, dict):
        args, words = node.get("args"), node.get("kwargs")
        if isinstance(args, list) and isinstance(words, dict):
            return args, dict(words)
    elif isinstance(node, list):
        args, words = arguments(name, node)
        return args, words
    raise InputError(f"layer {quote(name)}: cannot read its connections. Refused.")


def _of_heads(
    name: str, args: list[Json], words: dict[str, Any]
) -> tuple[list[Json], dict[str, Any]]:
    """Return query, value, key and where given the attention mask, then the masks of the three."""
    given = dict(zip(TENSORS, args, strict=False)) | words
    found = [given.get(word) for word in TENSORS]
    query, value, key = found
    if len(args) > len(TENSORS) or query is None or value is None:
        raise InputError(
            f"layer {quote(name)} is called with {len(args)} tensors by place. Expected query, "
            "value and maybe key."
        )
    tensors = [query, value, value if key is None else key]
    if given.get("attention_mask") is not None:
        tensors.append(given["attention_mask"])
    masks = [given.get(word) for word in MASKS]
    left = {k: v for k, v in words.items() if k not in (*TENSORS, *MASKS, "attention_mask")}
    return tensors, left | ({"mask": masks} if any(masks) else {})
