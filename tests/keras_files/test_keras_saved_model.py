"""SavedModels and TensorFlow's checkpoints: what is read of them, and what is refused."""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bundlebytes as bb
import kerasbytes as kb
import numpy as np
import pytest
import theirs
import torch

from grulight.errors import InputError
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.reader.bundle import Bundle
from grulight.keras_files.reader.folders import Directory

X = torch.from_numpy(np.random.default_rng(2).normal(size=(4, 7, 3)).astype("f4"))
CONFIG, _ = kb.small_model()
Change = Callable[[Path], object]


def flat(model: PortedModel) -> dict[str, np.ndarray]:
    arrays = model.keras_arrays()
    return {f"{layer}/{name}": a for layer, held in arrays.items() for name, a in held.items()}


def written(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    names = ("kernel", "recurrent_kernel", "bias")
    found = {f"gru/{n}": tensors[f"variables/{at}{bb.VALUE}"] for at, n in enumerate(names)}
    kept = {n: tensors[f"layer_with_weights-1/{n}{bb.VALUE}"] for n in ("kernel", "bias")}
    return found | {f"dense/{name}": array for name, array in kept.items()}


def require_equal(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def folder_itself(folder: Path) -> Path:
    return folder


def graph_file(folder: Path) -> Path:
    return folder / "saved_model.pb"


def metadata_file(folder: Path) -> Path:
    return folder / "keras_metadata.pb"


def zip_of_it(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder.parent, folder.name))


def zip_of_what_is_in_it(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


@pytest.mark.parametrize(
    "given", [folder_itself, graph_file, metadata_file, zip_of_it, zip_of_what_is_in_it]
)
def test_saved_model_opens_by_folder_by_file_and_zipped(
    given: Callable[[Path], Path], tmp_path: Path
) -> None:
    tensors = bb.small_tensors()
    model = load_keras(given(bb.saved_model(tmp_path / "m", tensors=tensors)))
    require_equal(flat(model), written(tensors))
    assert model.description["keras_version"] == "2.6.0"
    assert model.ignored == ("optimizer state",)


@pytest.mark.parametrize("within", ["config", "model_config"])
def test_metadata_of_before_tensorflow_2_5_are_read_from_the_graphs_file(
    within: str, tmp_path: Path
) -> None:
    root = bb.root_metadata(keras_version="2.2.4-tf")
    if within == "model_config":
        root["model_config"] = {"class_name": "Sequential", "config": root.pop("config")}
    model = load_keras(bb.old_saved_model(tmp_path / "m", root))
    assert model.description["keras_version"] == "2.2.4-tf"
    assert model(X).shape == (4, 2)


@pytest.mark.parametrize(
    "name", ["ck-1", "ck-1.index", "ck-1.data-00000-of-00001", "checkpoint", "", "other"]
)
def test_checkpoint_opens_by_prefix_by_any_file_and_by_folder(name: str, tmp_path: Path) -> None:
    tensors = bb.small_tensors()
    bb.checkpoint(tmp_path, tensors, "ck-1")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/ck-1"\n')
    if name == "other":
        bb.checkpoint(tmp_path, bb.small_tensors(), "other")
        require_equal(flat(load_keras(tmp_path, config=CONFIG)), written(tensors))
    else:
        require_equal(flat(load_keras(tmp_path / name, config=CONFIG)), written(tensors))
    with pytest.raises(InputError, match="holds weights but no configuration"):
        load_keras(tmp_path / name)


def test_folder_of_several_checkpoints_wants_one_of_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        bb.checkpoint(tmp_path, bb.small_tensors(), name)
    with pytest.raises(InputError, match=r"several checkpoints \('one', 'two'\)"):
        load_keras(tmp_path, config=CONFIG)


def test_model_is_found_among_what_a_checkpoint_holds(tmp_path: Path) -> None:
    model = bb.small_tree()
    tree = {"save_counter": "save_counter", "net": model, "twin": model, "other": {"layer-0": {}}}
    tensors = bb.small_tensors(tree)
    bb.checkpoint(tmp_path, tensors, "ck")
    require_equal(flat(load_keras(tmp_path / "ck", config=CONFIG)), written(tensors))


def test_objects_that_are_no_numbered_layers_are_a_class_of_somebodys_own(tmp_path: Path) -> None:
    gru = bb.small_tree()["layer-0"]
    bb.checkpoint(tmp_path, bb.small_tensors({"encoder": {"gru": gru}}), "ck")
    with pytest.raises(InputError, match="none of its objects is the model \\('encoder'\\)"):
        load_keras(tmp_path / "ck", config=CONFIG)


def test_names_in_the_metadata_go_before_the_order(tmp_path: Path) -> None:
    root = bb.root_metadata()
    tree = bb.small_tree()
    tree |= {"layer-0": tree["layer-1"], "layer-1": tree["layer-0"]}
    tensors = bb.small_tensors(tree)
    folder = bb.saved_model(tmp_path / "m", root, tensors=tensors)
    names = {"root.layer-0": (1, {"name": "dense"}), "root.layer-1": (2, {"name": "gru"})}
    content = bb.metadata({"root": (0, root), **names}, "_tf_keras_sequential")
    (folder / "keras_metadata.pb").write_bytes(content)
    require_equal(flat(load_keras(folder)), written(tensors))


def test_subclassed_model_is_refused_by_name_unless_its_layers_are_given(tmp_path: Path) -> None:
    root = {"class_name": "MyModel", "config": {}, "keras_version": "2.6.0"}
    folder = bb.saved_model(tmp_path / "m", root, "_tf_keras_model")
    with pytest.raises(InputError, match="the model is a 'MyModel': a class of somebody's own"):
        load_keras(folder)
    assert load_keras(folder, config=CONFIG)(X).shape == (4, 2)


def test_class_of_somebodys_own_around_listed_layers_is_ported_and_said(tmp_path: Path) -> None:
    root = bb.root_metadata(class_name="Custom>Mine")
    model = load_keras(bb.saved_model(tmp_path / "m", root))
    assert "that the model is a 'Custom>Mine'" in model.ignored[-1]


def test_saved_model_without_metadata_wants_a_configuration(tmp_path: Path) -> None:
    tensors = bb.small_tensors()
    folder = bb.saved_model(tmp_path / "m", tensors=tensors)
    (folder / "keras_metadata.pb").unlink()
    with pytest.raises(InputError, match=r"without Keras' metadata, .* Pass config"):
        load_keras(folder)
    require_equal(flat(load_keras(folder, config=CONFIG)), written(tensors))


def test_what_it_was_compiled_with_is_taken_over(tmp_path: Path) -> None:
    optimizer = {"class_name": "Custom>RMSprop", "config": {"learning_rate": 0.25}}
    training = {"loss": "categorical_crossentropy", "optimizer_config": optimizer}
    folder = bb.saved_model(tmp_path / "m", bb.root_metadata(training_config=training))
    compiled = load_keras(folder).description["compiled"]
    assert compiled["optimizer"]["class"] == "RMSprop"
    assert compiled["optimizer"]["learning_rate"] == 0.25


def index_of(folder: Path) -> Path:
    return folder / "variables/variables.index"


def shard_of(folder: Path) -> Path:
    return folder / "variables/variables.data-00000-of-00001"


def rewritten(change: Callable[[dict[bytes, bytes]], object], packed: int = 0) -> Change:
    """Return a change of the index, its checksums right again."""

    def write(folder: Path) -> None:
        entries, data = bb.bundle(bb.small_tensors())
        change(entries)
        index_of(folder).write_bytes(bb.table(entries, packed))
        shard_of(folder).write_bytes(data)

    return write


def kernel(**fields: int | bytes) -> Change:
    """Return a change of how the index describes the kernel; numbers are those of fields."""

    def write(entries: dict[bytes, bytes]) -> None:
        key = f"variables/0{bb.VALUE}".encode()
        entries[key] += b"".join(bb.field(int(name[1:]), held) for name, held in fields.items())

    return rewritten(write)


def flipped(path: Callable[[Path], Path], at: int) -> Change:
    def write(folder: Path) -> None:
        content = bytearray(path(folder).read_bytes())
        content[at] ^= 1
        path(folder).write_bytes(content)

    return write


def link_out(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    shard_of(folder).rename(elsewhere)
    shard_of(folder).symlink_to(elsewhere)


def doubled_name(folder: Path) -> None:
    tensors = bb.small_tensors()
    links = bb.field(1, bb.field(1, 1) + bb.field(2, "layer-0"))
    links += bb.field(1, bb.field(1, 2) + bb.field(2, "layer-0"))
    tensors[bb.GRAPH] = bb.field(1, links) + bb.field(1, b"") * 2
    bb.checkpoint(folder / "variables", tensors, "variables")


def no_such_object(folder: Path) -> None:
    tensors = bb.small_tensors()
    links = bb.field(1, bb.field(1, 99) + bb.field(2, "layer-0"))
    links += bb.field(1, bb.field(1, -1) + bb.field(2, "layer-1"))
    tensors[bb.GRAPH] = bb.field(1, links)
    bb.checkpoint(folder / "variables", tensors, "variables")


def without_graph(folder: Path) -> None:
    tensors = bb.small_tensors()
    del tensors[bb.GRAPH]
    bb.checkpoint(folder / "variables", tensors, "variables")


DAMAGE: dict[str, tuple[Change, str]] = {
    "a block's checksum": (flipped(index_of, 3), "the checksum of a block is wrong"),
    "the bytes of a variable": (flipped(shard_of, 0), "bytes of 'variables/0' are damaged"),
    "the object graph": (flipped(shard_of, -1), "_OBJECT_GRAPH' are damaged"),
    "the end of the index": (flipped(index_of, -1), "its end is not that of a table"),
    "the place of a block": (flipped(index_of, -45), "the index of the variables is damaged"),
    "snappy": (rewritten(lambda entries: None, 1), "packed with Snappy"),
    "big endian": (
        rewritten(lambda e: e.update({b"": bb.field(1, 1) + bb.field(2, 1)})),
        "is big-endian",
    ),
    "many shards": (
        rewritten(lambda e: e.update({b"": bb.field(1, 1 << 30)})),
        "it claims 1073741824 shards",
    ),
    "a shard that is not there": (
        rewritten(lambda e: e.update({b"": bb.field(1, 2)})),
        "data-00000-of-00002' is named and not there",
    ),
    "another shard": (kernel(f3=7), "lies in shard 7 of 1"),
    "bytes past the end": (kernel(f4=1 << 40), "144 bytes from byte 1099511627776 on"),
    "a hole": (lambda folder: os.truncate(shard_of(folder), 1 << 40), "of which its index knows"),
    "bytes before the start": (kernel(f4=-8), "bytes from byte -8 on"),
    "a huge shape": (
        kernel(f2=bb.field(2, bb.field(1, 1 << 30)) * 3, f5=144),
        "'variables/0' of shape .* has 144 bytes",
    ),
    "a negative shape": (kernel(f2=bb.field(2, bb.field(1, -3))), "'variables/0' has no shape"),
    "slices": (kernel(f7=b"\x0a\x00"), "kept in slices"),
    "whole numbers": (kernel(f1=3), "holds no floats"),
    "a link that leads out": (link_out, "is a link that leads out of the folder"),
    "two objects of one name": (doubled_name, "two objects called 'layer-0'"),
    "objects that are not there": (no_such_object, "leads to object .* of 1"),
    "no object graph": (without_graph, "as tf.compat.v1.train.Saver writes them"),
    "no variables": (lambda folder: index_of(folder).unlink(), "without variables/variables.index"),
    "no shard": (lambda folder: shard_of(folder).unlink(), "is named and not there"),
    "metadata": (
        lambda folder: metadata_file(folder).write_bytes(b"\x0a\xff"),
        "'keras_metadata.pb' is damaged",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_with_what_is_wrong(name: str, tmp_path: Path) -> None:
    folder = bb.saved_model(tmp_path / "m")
    change, words = DAMAGE[name]
    change(folder)
    with pytest.raises(InputError, match=words) as refusal:
        load_keras(folder)
    assert str(folder) in str(refusal.value)
    assert len(str(refusal.value).replace(str(tmp_path), "")) <= 500


def test_keys_that_share_almost_all_do_not_take_all_memory() -> None:
    from grulight.keras_files.reader.table import read_table

    data = bb.varint(0) + bb.varint(4000) + bb.varint(0) + b"k" * 4000
    more = bb.varint(4000) + bb.varint(3) + bb.varint(0)
    data += b"".join(more + struct.pack(">I", at)[1:] for at in range(8000))
    data += struct.pack("<II", 0, 1)
    with pytest.raises(InputError, match="not in order, or far too many"):
        read_table(bb.table_of({b"l": data}))


def test_left_over_weights_are_of_another_model(tmp_path: Path) -> None:
    config, _ = kb.small_model()
    config["config"]["layers"][1]["config"]["use_bias"] = False
    bb.checkpoint(tmp_path, bb.small_tensors(), "ck")
    with pytest.raises(InputError, match="no layer takes the array 'layer_with_weights-1/bias'"):
        load_keras(tmp_path / "ck", config=config)
    config["config"]["layers"].append(kb.layer("Dense", name="more", units=2))
    with pytest.raises(InputError, match="configuration has 3 layers, and the checkpoint 2"):
        load_keras(tmp_path / "ck", config=config)


def test_other_formats_need_neither_protobuf_nor_crc32c(tmp_path: Path) -> None:
    config, weights = kb.small_model()
    old = kb.saved(tmp_path, kb.legacy(config, weights), "m.h5")
    new = kb.saved(tmp_path, kb.zipped(config, kb.native_hdf5(kb.small_tree())))
    folder = bb.saved_model(tmp_path / "m")
    code = f"""
import sys
from pathlib import Path
from grulight.keras_files.reader.container import read_container
heavy = ("google.protobuf", "crc32c", "tensorflow", "tensorboard")
for path in ({str(old)!r}, {str(new)!r}, {str(folder)!r}):
    read_container(Path(path), None)
    print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]", "['google.protobuf', 'crc32c']"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Return a SavedModel of tf_keras with several inputs and a dictionary of outputs."""
    pytest.importorskip("tf_keras", reason="Keras 2 is not installed", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("real")

    def build(k: theirs.Flavour) -> Any:
        ids, x = k.Input((9,), name="ids"), k.Input((9, 3), name="x")
        inner = k.Sequential([k.GRU(3, return_sequences=True), k.BatchNormalization()])
        e = k.Embedding(10, 3, mask_zero=True)(ids)
        both = k.Bidirectional(k.LSTM(2))(inner(e))
        cells = k.RNN([k.GRUCell(4), k.SimpleRNNCell(3)])(inner(x))
        steps = k.TimeDistributed(k.Sequential([k.Dense(2), k.ReLU()]))(inner(x))
        ends = {"zeta": k.Dense(2)(both), "alpha": k.Flatten()(steps), "mid": cells}
        return k.Model([x, ids], ends)

    model = theirs.built(build, 5, theirs.keras_2())
    theirs.quietly(model.compile, "adam", "mse")
    model.optimizer.build(model.trainable_variables)
    theirs.saved(model, folder)
    return folder, model


@pytest.mark.parametrize("name", ["directory", "weights"])
def test_every_variable_has_the_bits_that_tensorflow_reads(
    name: str, real: tuple[Path, Any]
) -> None:
    folder, _ = real
    prefix = folder / name / "variables/variables" if name == "directory" else folder / name
    reader = theirs.tf.train.load_checkpoint(str(prefix))
    kinds = reader.get_variable_to_dtype_map()
    bundle = Bundle(Directory(prefix.parent), prefix.name)
    assert set(bundle.keys) == set(kinds)
    floats = [key for key, kind in kinds.items() if kind.is_floating]
    assert len(floats) > 60  # with those of the optimiser
    for key in floats:
        np.testing.assert_array_equal(bundle.stored(key, key).read(), reader.get_tensor(key))


def test_dictionary_of_outputs_comes_by_name(real: tuple[Path, Any]) -> None:
    folder, model = real
    rng = np.random.default_rng(1)
    x, ids = rng.normal(size=(4, 9, 3)).astype("f4"), rng.integers(0, 10, (4, 9)).astype("i4")
    expected = model([x, ids])
    ported = load_keras(folder / "directory")
    assert "optimizer state" in ported.ignored
    with torch.no_grad():
        found = ported(torch.from_numpy(x), torch.from_numpy(ids))
    assert isinstance(found, dict)
    assert found.keys() == expected.keys()
    for name, theirs_value in expected.items():
        np.testing.assert_allclose(found[name], theirs_value, rtol=1e-5, atol=1e-6)


def test_what_is_written_here_is_what_tensorflow_reads(tmp_path: Path) -> None:
    tensors = bb.small_tensors()
    bb.checkpoint(tmp_path, tensors, "ck")
    reader = theirs.tf.train.load_checkpoint(str(tmp_path / "ck"))
    for key, array in tensors.items():
        found = reader.get_tensor(key)
        assert found == array if isinstance(array, bytes) else np.array_equal(found, array)


@pytest.mark.slow
def test_saved_model_with_its_graph_opens_in_time_and_memory(tmp_path: Path) -> None:
    k = theirs.keras_2().fresh("float32")
    model = k.Sequential([k.Input((9, 3)), k.GRU(2800), k.Dense(200)])
    theirs.quietly(lambda: model.save(tmp_path / "m", save_format="tf"))
    size = sum(each.stat().st_size for each in (tmp_path / "m").rglob("*") if each.is_file())
    code = f"""
import resource, sys, time
import torch
from grulight.keras_files.port import load_keras
load_keras({str(bb.saved_model(tmp_path / "small"))!r})
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
load_keras({str(tmp_path / "m")!r})
print(time.perf_counter() - start)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10)
print("tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, grown, tensorflow = done.stdout.split()
    assert size > 90 << 20
    assert float(seconds) < 2
    assert int(grown) < 3 * size + (200 << 20)
    assert tensorflow == "False"
