"""SavedModels and TensorFlow's checkpoints written byte by byte (KERAS_FACTS section 7)."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kerasbytes as kb
import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

Tree = Mapping[str, Any]  # objects by the names of attributes; a text is a variable's key
MAGIC = 0xDB4775248B80FB57
FLOATS = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def varint(number: int) -> bytes:
    held = bytearray()
    number &= (1 << 64) - 1
    while number > 127:
        held.append(number & 127 | 128)
        number >>= 7
    return bytes([*held, number])


def field(number: int, value: int | bytes | str) -> bytes:
    """Return a field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def masked(data: bytes) -> int:
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def block(entries: Mapping[bytes, bytes]) -> bytes:
    """Return a block of a table, each key without what it shares with the one before."""
    held, last = b"", b""
    for key, value in entries.items():
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), None)
        shared = min(len(key), len(last)) if shared is None else shared
        held += varint(shared) + varint(len(key) - shared) + varint(len(value))
        held += key[shared:] + value
        last = key
    return held + struct.pack("<II", 0, 1)


def trailer(data: bytes, packed: int = 0) -> bytes:
    return bytes([packed]) + struct.pack("<I", masked(data + bytes([packed])))


def table(entries: Mapping[bytes, bytes], packed: int = 0) -> bytes:
    """Return a sorted table of two data blocks."""
    ordered = sorted(entries.items())
    half = len(ordered) // 2
    parts = (dict(ordered[:half]), dict(ordered[half:]))
    return table_of({max(part, default=b""): block(part) for part in parts}, packed)


def table_of(blocks: Mapping[bytes, bytes], packed: int = 0) -> bytes:
    """Return a sorted table of data blocks by their last keys."""
    held, index = b"", {}
    for key, data in blocks.items():
        index[key] = varint(len(held)) + varint(len(data))
        held += data + trailer(data, packed)
    data = block(index)
    handle = varint(len(held)) + varint(len(data))
    held += data + trailer(data)
    return held + (b"\0\0" + handle).ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def entry(array: NDArray[Any] | bytes, offset: int) -> tuple[bytes, bytes]:
    """Return how the index describes a tensor, and the tensor's bytes."""
    if isinstance(array, bytes):
        kind, shape = 7, b""
        length = struct.pack("<I", len(array))
        noted = struct.pack("<I", masked(length))
        data, checked = varint(len(array)) + noted + array, length + noted + array
    else:
        kind = FLOATS[array.dtype.name]
        shape = b"".join(field(2, field(1, size)) for size in array.shape)
        data = checked = array.tobytes()
    text = field(1, kind) + field(2, shape) + field(4, offset) + field(5, len(data))
    return text + varint(6 << 3 | 5) + struct.pack("<I", masked(checked)), data


def bundle(tensors: Mapping[str, NDArray[Any] | bytes]) -> tuple[dict[bytes, bytes], bytes]:
    """Return the entries of the index, and the only shard."""
    entries, data = {b"": field(1, 1) + field(3, field(1, 1))}, b""
    for key, array in tensors.items():
        entries[key.encode()], held = entry(array, len(data))
        data += held
    return entries, data


def object_graph(tree: Tree) -> bytes:
    """Return the graph of a tree of objects; objects that are the same are one node."""
    numbers: dict[int | str, int] = {}
    nodes: list[Tree | str] = []

    def add(held: Tree | str) -> int:
        key = held if isinstance(held, str) else id(held)
        if key not in numbers:
            numbers[key] = len(nodes)
            nodes.append(held)
        return numbers[key]

    def written() -> Iterator[bytes]:
        for node in nodes:  # which grows
            if isinstance(node, str):
                name = field(1, "VARIABLE_VALUE") + field(3, node + VALUE)
                yield field(1, field(2, name))
            else:
                links = (field(1, add(held)) + field(2, name) for name, held in node.items())
                yield field(1, b"".join(field(1, link) for link in links))

    add(tree)
    return b"".join(written())


def small_tree() -> dict[str, Any]:
    """Return the objects of `kerasbytes.small_model`, as TensorFlow has them."""
    names = ("kernel", "recurrent_kernel", "bias")
    gru = {"cell": {name: f"variables/{at}" for at, name in enumerate(names)}, "keras_api": {}}
    dense = {name: f"layer_with_weights-1/{name}" for name in ("kernel", "bias")}
    layers = {"layer-0": gru, "layer_with_weights-0": gru, "layer-1": dense}
    return layers | {"layer_with_weights-1": dense, "optimizer": {"iter": "optimizer/iter"}}


def small_tensors(tree: Tree | None = None) -> dict[str, NDArray[Any] | bytes]:
    """Return the variables of `kerasbytes.small_model` by key, and the graph of objects."""
    _, weights = kb.small_model()
    keys = [f"variables/{at}" for at in range(3)]
    keys += [f"layer_with_weights-1/{name}" for name in ("kernel", "bias")]
    arrays = [array for held in weights.values() for _, array in held]
    tensors: dict[str, NDArray[Any] | bytes] = {
        key + VALUE: array for key, array in zip(keys, arrays, strict=True)
    }
    tensors[f"optimizer/iter{VALUE}"] = np.array(3, np.int64)
    return tensors | {GRAPH: object_graph(small_tree() if tree is None else tree)}


def checkpoint(folder: Path, tensors: Mapping[str, NDArray[Any] | bytes], name: str) -> None:
    """Write a checkpoint."""
    entries, data = bundle(tensors)
    (folder / f"{name}.index").write_bytes(table(entries))
    (folder / f"{name}.data-00000-of-00001").write_bytes(data)


def root_metadata(**changes: object) -> dict[str, Any]:
    """Return what Keras notes of `kerasbytes.small_model`, tuples in its own words."""
    config, _ = kb.small_model()
    first = config["config"]["layers"][0]["config"]
    first["batch_input_shape"] = {"class_name": "__tuple__", "items": [None, 7, 3]}
    return {"name": "m", **config, "keras_version": "2.6.0", "backend": "tensorflow"} | changes


def metadata(nodes: Mapping[str, tuple[int, dict[str, Any]]], identifier: str) -> bytes:
    """Return `keras_metadata.pb` of what is noted at each path."""
    return b"".join(
        field(1, field(2, at) + field(3, path) + field(4, identifier) + field(5, json.dumps(held)))
        for path, (at, held) in nodes.items()
    )


def saved_model(
    folder: Path,
    root: dict[str, Any] | None = None,
    identifier: str = "_tf_keras_sequential",
    tensors: Mapping[str, NDArray[Any] | bytes] | None = None,
) -> Path:
    """Write a SavedModel with `keras_metadata.pb`, without the graph that nobody reads."""
    (folder / "variables").mkdir(parents=True)
    checkpoint(folder / "variables", tensors or small_tensors(), "variables")
    root = root_metadata() if root is None else root
    names = {
        "root": (0, root),
        "root.layer_with_weights-0": (1, {"name": "gru"}),
        "root.layer-1": (2, {"name": "dense"}),
    }
    (folder / "keras_metadata.pb").write_bytes(metadata(names, identifier))
    (folder / "saved_model.pb").write_bytes(field(1, 1))
    return folder


def old_saved_model(folder: Path, root: dict[str, Any]) -> Path:
    """Write a SavedModel as before TensorFlow 2.5: the metadata are in `saved_model.pb`."""
    saved_model(folder)
    (folder / "keras_metadata.pb").unlink()
    noted = [(root, {"layer-0": 1, "layer_with_weights-1": 2})]
    noted += [({"name": name}, {}) for name in ("gru", "dense")]
    nodes = b""
    for held, children in noted:
        user = field(1, "_tf_keras_sequential") + field(3, json.dumps(held))
        links = (field(1, field(1, at) + field(2, name)) for name, at in children.items())
        nodes += field(1, b"".join(links) + field(4, user))
    graph = field(2, b"\x0a\x05graph")  # field 2 of a MetaGraphDef: the graph, left alone
    (folder / "saved_model.pb").write_bytes(field(1, 1) + field(2, graph + field(7, nodes)))
    return folder
