"""The two ways in which Keras writes down how layers call each other (KERAS_FACTS 4.4)."""

from collections.abc import Iterator

from grulight.errors import InputError
from grulight.keras_files.plan.constants import constant, is_constant
from grulight.keras_files.plan.spec import Argument, Call, Ref
from grulight.keras_files.reader.untrusted_text import Json, quote

TENSOR = "__keras_tensor__"
CONSTANT = "_CONSTANT_VALUE"  # in place of a layer's name, where Keras 2 writes a constant


def calls_of(name: str, nodes: Json) -> list[Call]:
    """Read `inbound_nodes` of one layer.

    Raises:
        InputError: They are written in neither way, or ask for what is not ported.
    """
    if not isinstance(nodes, list):
        raise _unreadable(name, nodes)
    calls = []
    for index, node in enumerate(nodes):
        if isinstance(node, dict):
            inputs, words = _keras_3_node(name, node)
        elif isinstance(node, list):
            inputs, words = _keras_2_node(name, node)
        else:
            raise _unreadable(name, node)
        training = words.pop("training", None)
        if training not in (None, True, False):
            raise _unreadable(name, node)
        inputs += tuple(_leaves(name, words.get("initial_state")))
        masks = tuple(_leaves(name, words.get("mask"), keep_none=True))
        for word, value in words.items():
            if word not in ("initial_state", "mask") and value not in (None, False, [], {}):
                raise InputError(
                    f"layer {quote(name)} is called with {quote(word)} = {quote(value)}, which is "
                    "not ported. Build the model without it."
                )
        if not inputs or any(not isinstance(mask, Ref | None) for mask in masks):
            raise _unreadable(name, node)
        calls.append(Call(name, index, inputs, masks, training))  # type: ignore[arg-type]
    return calls


def loose_calls_of(name: str, nodes: Json) -> list[Call]:
    """Read the tensors that a layer which is not ported is called with, and nothing else."""
    found = []
    for index, node in enumerate(nodes if isinstance(nodes, list) else []):
        tensors: list[Argument] = []
        stack: list[Json] = [node]
        while stack:
            entry = stack.pop()
            if isinstance(entry, dict):
                # a mask is nothing that a model could end with
                stack += [entry[key] for key in reversed(entry) if not key.endswith("mask")]
            elif isinstance(entry, list) and [type(e) for e in entry[:3]] == [str, int, int]:
                tensors.append(Ref(*entry[:3]))
                stack += reversed(entry[3:])
            elif isinstance(entry, list):
                stack += reversed(entry)
        found.append(Call(name, index, tuple(tensors)))
    return found


def refs_of(name: str, entry: Json) -> tuple[Ref, ...]:
    """Read `input_layers` or `output_layers`: one place, or a list or dictionary of places.

    Those of a dictionary come in the order of its keys, as Keras lists them.
    """
    leaves = tuple(_leaves(name, _sorted(entry)))
    if not leaves or not all(isinstance(leaf, Ref) for leaf in leaves):
        raise _unreadable(name, entry)
    return leaves  # type: ignore[return-value]


def keys_of(entry: Json) -> tuple[str, ...]:
    """Return the keys of a dictionary of places, in the order of `refs_of`; of others none."""
    if not isinstance(entry, dict) or entry.get("class_name") == TENSOR:
        return ()
    keys = tuple(sorted(entry))
    each = all(len([*_leaves(key, entry[key])]) == 1 for key in keys)
    return keys if each else ()


def _sorted(entry: Json) -> Json:
    """Return nested lists and dictionaries with the keys of dictionaries in order."""
    if isinstance(entry, dict) and entry.get("class_name") != TENSOR:
        return {key: _sorted(entry[key]) for key in sorted(entry)}
    return [_sorted(each) for each in entry] if isinstance(entry, list) else entry


def _keras_2_node(name: str, node: list[Json]) -> tuple[tuple[Argument, ...], dict[str, Json]]:
    """Read `[[layer, call, tensor, words], ...]`."""
    inputs: list[Argument] = []
    words: dict[str, Json] = {}
    for entry in [node] if node[:1] == [CONSTANT] else node:
        if not isinstance(entry, list) or len(entry) not in (3, 4):
            raise _unreadable(name, node)
        if entry[0] == CONSTANT:
            inputs.append(constant(name, entry[2]))
        else:
            inputs.append(_ref(name, entry[:3]))
        if len(entry) == 4:
            if not isinstance(entry[3], dict):
                raise _unreadable(name, node)
            words |= entry[3]
    return tuple(inputs), words


def _keras_3_node(name: str, node: dict[str, Json]) -> tuple[tuple[Argument, ...], dict[str, Json]]:
    """Read `{"args": [...], "kwargs": {...}}`."""
    words = node.get("kwargs")
    if not isinstance(node.get("args"), list) or not isinstance(words, dict):
        raise _unreadable(name, node)
    words = dict(words)
    inputs = tuple(leaf for each in node["args"] for leaf in _leaves(name, each))
    first = next((key for key in ("inputs", "sequences") if key in words), None)
    if not inputs and first is not None:
        inputs = tuple(_leaves(name, words[first]))
        words = {key: value for key, value in words.items() if key != first}
    return inputs, words


def _leaves(name: str, entry: Json, keep_none: bool = False) -> Iterator[Argument]:
    """Yield tensors, constants and numbers of nested lists and dictionaries in order."""
    if isinstance(entry, dict) and entry.get("class_name") == TENSOR:
        config = entry.get("config")
        yield _ref(name, config.get("keras_history") if isinstance(config, dict) else None)
    elif isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], str):
        yield _ref(name, entry)
    elif is_constant(entry):
        yield constant(name, entry)
    elif isinstance(entry, (list, dict)):
        for child in entry.values() if isinstance(entry, dict) else entry:
            yield from _leaves(name, child, keep_none)
    elif entry is None:
        if keep_none:
            yield None
    elif isinstance(entry, (bool, int, float)):
        yield entry
    else:
        raise _unreadable(name, entry)


def _ref(name: str, entry: Json) -> Ref:
    match entry:
        case [str(layer), int(call), int(tensor)] if 0 <= call < 1 << 20 and 0 <= tensor < 1 << 10:
            return Ref(layer, call, tensor)
    raise _unreadable(name, entry)


def _unreadable(name: str, entry: Json) -> InputError:
    return InputError(
        f"layer {quote(name)}: cannot read the connection {quote(entry)}. Expected what Keras "
        "writes as inbound_nodes."
    )
