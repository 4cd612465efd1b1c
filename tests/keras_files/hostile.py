"""One file per known weakness of Keras' own loading (KERAS_FACTS section 3), and some more."""

import json
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import kerasbytes as kb
import numpy as np

KERNEL = "model_weights/gru/gru/kernel:0"


def with_layer(class_name: str, **config: object) -> bytes:
    """Return a legacy file whose last layer is this one."""
    model, weights = kb.small_model()
    model["config"]["layers"].append(kb.layer(class_name, name="evil", **config))
    return kb.legacy(model, weights)


def with_activation(activation: object) -> bytes:
    """Return a legacy file whose Dense has this activation."""
    model, weights = kb.small_model()
    model["config"]["layers"][1]["config"]["activation"] = activation
    return kb.legacy(model, weights)


def keras3_with_layer(layer: dict[str, Any]) -> bytes:
    model, _ = kb.small_model()
    model["config"]["layers"].append(layer)
    return kb.zipped(model, kb.native_hdf5(kb.small_tree()))


def legacy_changed(change: kb.Change) -> bytes:
    model, weights = kb.small_model()
    return kb.legacy(model, weights, change=change)


def replaced_kernel(make: Callable[[h5py.File], object]) -> bytes:
    def change(file: h5py.File) -> None:
        del file[KERNEL]
        make(file)

    return legacy_changed(change)


def shape_bomb(file: h5py.File) -> None:
    file.create_dataset(KERNEL, (1 << 20, 1 << 20), "f4", chunks=(64, 64), compression="gzip")


def sparse_bomb(file: h5py.File) -> None:
    file.create_dataset(KERNEL, (1 << 20, 1 << 20), "f4", chunks=(64, 64))


def external_storage(file: h5py.File) -> None:
    file.create_dataset(KERNEL, (3, 12), "f4", external=[("/etc/passwd", 0, 144)])


def external_link(file: h5py.File) -> None:
    file[KERNEL] = h5py.ExternalLink("/tmp/other.h5", "/secret")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 12), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "secret", (3, 12))
    file.create_virtual_dataset(KERNEL, layout)


def vlen_objects(file: h5py.File) -> None:
    file.create_dataset(KERNEL, (3, 12), h5py.vlen_dtype(np.float32))


def cycle(file: h5py.File) -> None:
    file["model_weights/gru/again"] = file["model_weights"]


def fan_out(file: h5py.File) -> None:
    file["model_weights/dense/twin"] = file[KERNEL]


def many_long_names(file: h5py.File) -> None:
    names = np.array(["x" * 100_000] * 700, dtype=object)
    del file["model_weights/gru"].attrs["weight_names"]
    file.attrs["long"] = "x" * 200_000
    file["model_weights/gru"].attrs.create("weight_names", names, dtype=h5py.string_dtype())


def doubled_attribute() -> bytes:
    """Return a file with two configurations: h5py reads the first."""

    def change(file: h5py.File) -> None:
        config = file.attrs["model_config"]
        del file.attrs["model_config"]
        file.attrs["model_confiA"] = file.attrs["model_confiB"] = config

    content = legacy_changed(change)
    for name in (b"model_confiA", b"model_confiB"):
        content = content.replace(name, b"model_config")
    return content


def doubled_key() -> bytes:
    config, _ = kb.small_model()
    return kb.zipped(
        json.dumps(config)[:-1] + ', "class_name": "Functional"}', kb.native_hdf5(kb.small_tree())
    )


def doubled_weight(file: h5py.File) -> None:
    names = [b"gru/kernel:0", b"gru/recurrent_kernel:0", b"gru/kernel:0"]
    file["model_weights/gru"].attrs["weight_names"] = names


def doubled_member() -> bytes:
    model, _ = kb.small_model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the very thing built here
        return kb.zipped(
            model, kb.native_hdf5(kb.small_tree()), extra=[("config.json", b'{"other": 1}')]
        )


def encrypted() -> bytes:
    content = bytearray(kb.zipped(*_small_keras()))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(magic)
        while start >= 0:
            content[start + offset] |= 1
            start = content.find(magic, start + 4)
    return bytes(content)


def zip_bomb() -> bytes:
    model, _ = kb.small_model()
    return kb.zipped(model, bytes(64 << 20), compression=zipfile.ZIP_DEFLATED)


def _small_keras() -> tuple[dict[str, Any], bytes]:
    return kb.small_model()[0], kb.native_hdf5(kb.small_tree())


def deep_json() -> bytes:
    return kb.zipped('{"a":' * 900 + "1" + "}" * 900, b"")


def very_deep_json() -> bytes:
    return kb.zipped("[" * 1_000_000, b"")


def long_json() -> bytes:
    return kb.zipped(b'{"a": "' + b"x" * (5 << 20) + b'"}', b"")


def no_floats() -> bytes:
    return replaced_kernel(lambda file: file.create_dataset(KERNEL, data=np.ones((3, 12), "i4")))


def dotted_path() -> bytes:
    tree = kb.small_tree()
    return kb.zipped(_small_keras()[0], kb.native_hdf5(tree | {"layers/..\\..\\x/0": np.ones(3)}))


def traversing_member() -> bytes:
    return kb.zipped(*_small_keras(), extra=[("../../evil.txt", b"x"), ("/etc/evil", b"x")])


LAMBDA_CODE = ["4wEAAAAAAAAAAAAAAAEAAAAEAAAA", None, None]

# What opening the container itself refuses: name, content, words of the refusal.
CONTAINERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "CVE-2026-0897 shape bomb, compressed": (lambda: replaced_kernel(shape_bomb), "chunks"),
    "CVE-2026-12570 shape bomb, sparse": (lambda: replaced_kernel(sparse_bomb), "chunks"),
    "CVE-2026-1669 external storage": (lambda: replaced_kernel(external_storage), "another file"),
    "CVE-2026-1669 external link": (lambda: replaced_kernel(external_link), "ExternalLink"),
    "soft link": (
        lambda: replaced_kernel(lambda f: f.__setitem__(KERNEL, h5py.SoftLink("/x"))),
        "SoftLink",
    ),
    "external link at the root": (
        lambda: legacy_changed(lambda f: f.__setitem__("x", h5py.ExternalLink("/tmp/x", "/"))),
        "ExternalLink",
    ),
    "virtual array": (lambda: replaced_kernel(virtual), "virtual"),
    "array of objects": (lambda: replaced_kernel(vlen_objects), "objects instead of numbers"),
    "cycle of hard links": (lambda: legacy_changed(cycle), "linked twice"),
    "one array under two names": (lambda: legacy_changed(fan_out), "linked twice"),
    "thousands of long names": (lambda: legacy_changed(many_long_names), "long texts"),
    "doubled zip member": (doubled_member, "appears twice"),
    "doubled attribute": (doubled_attribute, "'model_config' is there twice"),
    "doubled key of JSON": (doubled_key, "'class_name' is there twice"),
    "doubled weight": (lambda: legacy_changed(doubled_weight), "no array, or twice"),
    "encrypted zip member": (encrypted, "encrypted"),
    "zip bomb": (zip_bomb, "unpack to far more"),
    "deep JSON": (deep_json, "nested deeper"),
    "very deep JSON": (very_deep_json, "nested deeper|declares"),
    "long JSON": (long_json, "config.json"),
    "dotted path in HDF5": (dotted_path, "dotted parts"),
}

# What building the model refuses.
MODELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "CVE-2024-3660 CVE-2025-9905 Lambda in HDF5": (
        lambda: with_layer("Lambda", function=LAMBDA_CODE, function_type="lambda"),
        "Lambda",
    ),
    "CVE-2025-1550 any module and function": (
        lambda: keras3_with_layer(
            {"module": "os", "class_name": "function", "config": "system", "name": "evil"}
        ),
        "function",
    ),
    "CVE-2025-8747 a function of Keras": (
        lambda: keras3_with_layer(
            {
                "module": "keras.utils",
                "class_name": "function",
                "config": {"name": "get_file", "arguments": {"origin": "http://x/y"}},
                "registered_name": "function",
            }
        ),
        "function",
    ),
    "CVE-2025-9906 enable_unsafe_deserialization": (
        lambda: keras3_with_layer(
            {
                "module": "keras.config",
                "class_name": "enable_unsafe_deserialization",
                "config": {},
                "name": "evil",
            }
        ),
        "enable_unsafe_deserialization",
    ),
    "CVE-2026-12481 Lambda in .keras": (
        lambda: keras3_with_layer(
            {
                "module": "keras.layers",
                "class_name": "Lambda",
                "config": {
                    "name": "evil",
                    "function": {
                        "class_name": "__lambda__",
                        "config": {"code": LAMBDA_CODE[0], "defaults": None, "closure": None},
                    },
                },
            }
        ),
        "Lambda",
    ),
    "CVE-2025-49655 TorchModuleWrapper": (
        lambda: keras3_with_layer(
            kb.layer("TorchModuleWrapper", name="evil", module="gASVIAAAAAAAAACMBXBvc2l4lA==")
        ),
        "TorchModuleWrapper",
    ),
    "CVE-2025-12058 StringLookup": (
        lambda: with_layer("StringLookup", vocabulary="/etc/passwd"),
        "StringLookup",
    ),
    "CVE-2026-1462 TFSMLayer": (
        lambda: keras3_with_layer(kb.layer("TFSMLayer", name="evil", filepath="/tmp/saved_model")),
        "TFSMLayer",
    ),
    "activation that names a module": (
        lambda: with_activation({"module": "os", "class_name": "function", "config": "system"}),
        "activation",
    ),
    "integers for weights": (no_floats, "holds no floats"),
}

# Not refused but harmless: what would leave the file is never touched.
HARMLESS: dict[str, Callable[[], bytes]] = {
    "CVE-2025-12060 members that climb out of the folder": traversing_member,
    "custom names in the training configuration": lambda: legacy_changed(
        lambda f: f.attrs.__setitem__(
            "training_config", json.dumps({"loss": "os.system", "optimizer_config": {}})
        )
    ),
}
