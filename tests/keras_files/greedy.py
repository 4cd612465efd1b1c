"""Small files that would take gigabytes or minutes if what they say were believed."""

import io
import json
import struct
import zlib
from collections.abc import Callable

import h5py
import kerasbytes as kb
import numpy as np

UNDEFINED = (1 << 64) - 1


def understated_member() -> bytes:
    """Return a zip whose configuration unpacks to 600 MB and declares 1,000 bytes."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(600)) + packer.flush()
    members = [
        (b"config.json", 8, packed, 1000, zlib.crc32(bytes(1000))),
        (b"model.weights.h5", 0, b"x" * 99, 99, zlib.crc32(b"x" * 99)),
    ]
    body = directory = b""
    for name, way, data, size, crc in members:
        sizes = (crc, len(data), size, len(name))
        at = len(body)
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, way, 0, 0, *sizes, 0) + name + data
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, way, 0, 0, *sizes, 0, 0, 0, 0, 0, at
        )
        directory += name
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, len(directory), len(body), 0)
    return body + directory + end


def many_weights_of_a_long_name() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        name = "a" * 60_000
        file.attrs.create("layer_names", [name], dtype=h5py.string_dtype())
        group = file.create_group(name)
        group.attrs.create("weight_names", np.array([b"w"] * 60_000, "S1"))
        group.create_dataset("q", data=[1.0])
    return buffer.getvalue()


def many_members_of_a_long_name() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        file.attrs["layer_names"] = ["a"]
        group = file.create_group("a" * 60_000)
        for at in range(10_000):
            group.create_group(f"{at:x}")
    return buffer.getvalue()


def _old_file(body: bytes) -> bytes:
    head = bytearray(96)
    head[:8] = b"\x89HDF\r\n\x1a\n"
    head[13] = head[14] = 8
    struct.pack_into("<HH", head, 16, 4, 16)
    struct.pack_into("<QQQQ", head, 24, 0, UNDEFINED, 0, UNDEFINED)
    struct.pack_into("<QQII", head, 56, 0, len(head), 0, 0)
    return bytes(head) + body


def names_over_each_other(count: int = 50_000, length: int = 10_000) -> bytes:
    """Return 50,000 links whose long names begin one byte apart."""
    names = b"".join(b"%08x" % i for i in range((length + count) // 8 + 10)) + bytes(8)
    tree = 136
    heap = tree + 48
    data = heap + 32
    links = data + len(names)
    body = struct.pack("<BBHII4x", 1, 0, 1, 1, 24) + struct.pack("<HHB3x", 0x11, 16, 0)
    body += struct.pack("<QQ", tree, heap)
    body += b"TREE" + struct.pack("<BBHQQ", 0, 0, 1, UNDEFINED, UNDEFINED)
    body += struct.pack("<QQQ", 0, links, 0)
    body += b"HEAP" + struct.pack("<B3xQQQ", 0, len(names) + 1, UNDEFINED, data) + names
    body += b"SNOD" + struct.pack("<BBH", 1, 0, count)
    body += b"".join(struct.pack("<QQII16x", at, 1000 + at, 0, 0) for at in range(count))
    return _old_file(body)


def empty_messages(count: int = 1_500_000) -> bytes:
    """Return a root whose header is nothing but messages of no bytes."""
    body = struct.pack("<BBHII4x", 1, 0, 65535, 1, 8 * count)
    return _old_file(body + struct.pack("<HHB3x", 0x0C, 0, 0) * count)


def empty_objects() -> bytes:
    """Return 4 MB of JSON that takes thirty times as much."""
    config = '{"class_name": "Sequential", "config": {"layers": [' + "{}," * 1_390_000 + "{}]}}"
    return kb.zipped(config, kb.native_hdf5(kb.small_tree()))


def nested_layers() -> bytes:
    """Return models in a model that have more layers than any, each of few bytes."""
    layers = [{"class_name": "Dense", "config": {"name": f"{at:x}"}} for at in range(9000)]
    inner = {"class_name": "Sequential", "config": {"layers": layers}}
    outer = {"class_name": "Sequential", "config": {"layers": [inner] * 8}}
    config = json.dumps(outer, separators=(",", ":"))
    return kb.zipped(config, kb.native_hdf5(kb.small_tree()))


def connections_of_a_strange_layer() -> bytes:
    """Return 300,000 connections of a layer that is not ported."""
    start = {"class_name": "InputLayer", "config": {"batch_shape": [None, 3]}, "name": "i"}
    strange = {"class_name": "Lambda", "config": {}, "inbound_nodes": [[[]] * 300_000]}
    layers = [{**start, "inbound_nodes": []}, {**strange, "name": "l"}]
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [["l", 0, 0]]}
    config = {"class_name": "Functional", "config": {"layers": layers, **ends}}
    return kb.zipped(json.dumps(config), kb.native_hdf5(kb.small_tree()))


FILES: dict[str, Callable[[], bytes]] = {
    "member that unpacks to more than it declares": understated_member,
    "one long name of a layer, times its weights": many_weights_of_a_long_name,
    "one long name of a group, times its members": many_members_of_a_long_name,
    "names over each other": names_over_each_other,
    "empty messages": empty_messages,
    "empty objects": empty_objects,
    "nested layers": nested_layers,
    "connections of a strange layer": connections_of_a_strange_layer,
}
