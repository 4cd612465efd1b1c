"""Whatever is done to a SavedModel or a checkpoint: a model, or one line, soon and in bounds."""

import json
import random
import resource
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bundlebytes as bb
import hypothesis.strategies as st
import kerasbytes as kb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from test_keras_fuzz import BYTES, SECONDS, cut, doubled, enlarged, flipped, renamed

from grulight.errors import InputError
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel

CONFIG, _ = kb.small_model()
MUTATIONS = (flipped, cut, enlarged, renamed, doubled)
NUMBERS = (0, 1, 2, 3, 7, 144, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) - 1, -1, -8)
Files = dict[str, bytes]
INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"


def parts(rng: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return tensors and metadata, one of them changed in what they say."""
    tree, root = bb.small_tree(), bb.root_metadata()
    places: list[Callable[[], object]] = [
        lambda: other_object(tree, rng),
        lambda: other_setting(root, rng),
        lambda: None,
    ]
    rng.choice(places)()
    tensors = bb.small_tensors(tree)
    if rng.random() < 0.3:
        key = rng.choice([key for key in tensors if key != bb.GRAPH])
        shape = rng.choices(range(6), k=rng.randrange(4))
        tensors[key] = np.ones(shape, rng.choice(("f4", "f8", "f2", "i8")))
    return tensors, root


def other_object(tree: dict[str, Any], rng: random.Random) -> None:
    """Let an object be another, lack, or hold itself."""
    held: dict[str, Any] = rng.choice([tree, tree["layer-0"], tree["layer-0"]["cell"]])
    name = rng.choice([*held, "layer-2", "layer-99999", "cell", "kernel", "forward_layer"])
    held[name] = rng.choice([tree, tree["layer-1"], "variables/0", "nothing", {}, held])


def other_setting(root: dict[str, Any], rng: random.Random) -> None:
    odd = (None, True, -1, 0, 3, 1 << 40, 1e308, "relu", [], [None], {}, "Sequential", "../x")
    targets: list[dict[str, Any]] = [root, root["config"], *root["config"]["layers"]]
    targets += [layer["config"] for layer in root["config"]["layers"]]
    target = rng.choice(targets)
    wrapped = {"class_name": "__tuple__", "items": rng.choice(odd)}
    target[rng.choice([*target, "layers", "training_config"])] = rng.choice((*odd, wrapped))


def written(rng: random.Random) -> Files:
    """Return a SavedModel of either age, its checksums right, maybe with odd numbers inside."""
    tensors, root = parts(rng)
    entries, data = bb.bundle(tensors)
    if rng.random() < 0.5:
        key = rng.choice([*entries])
        number = bb.field(rng.choice((1, 2, 3, 4, 5, 6, 7)), rng.choice(NUMBERS))
        dims = (bb.field(2, bb.field(1, rng.choice(NUMBERS))) for _ in range(rng.randrange(4)))
        shape = bb.field(2, b"".join(dims))
        entries[key] = rng.choice((entries[key] + number, entries[key] + shape, number, b""))
    names = {"root": (0, root), "root.layer-0": (1, {"name": rng.choice(("gru", "dense"))})}
    if rng.random() < 0.3:
        names = {rng.choice(("root", "root.layer-0.cell", "root" + ".layer" * 30)): (0, root)}
    held = {INDEX: bb.table(entries), DATA: data}
    if rng.random() < 0.5:
        user = bb.field(1, "_tf_keras_sequential") + bb.field(3, json.dumps(root))
        child = bb.field(1, bb.field(1, rng.choice((0, 1, 5, -1))) + bb.field(2, "layer-0"))
        nodes = bb.field(1, child + bb.field(4, user)) + bb.field(1, child)
        return held | {"saved_model.pb": bb.field(2, bb.field(7, nodes))}
    return held | {"keras_metadata.pb": bb.metadata(names, "_tf_keras_sequential")}


def mutant(seed: int) -> Files:
    rng = random.Random(seed)
    files = written(rng)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        name = rng.choice([*files])
        files[name] = rng.choice(MUTATIONS)(files[name], rng) or b"\x00"
    return files


def opened(files: Files, folder: Path, seed: int) -> PortedModel | InputError:
    """Open the files, and check what must hold however they came about."""
    shutil.rmtree(folder / "m", ignore_errors=True)
    (folder / "m/variables").mkdir(parents=True)
    for name, content in files.items():
        (folder / "m" / name).write_bytes(content)
    alone = seed % 4 == 0  # the checkpoint, with a configuration
    path = folder / ("m/variables/variables" if alone else "m")
    start = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is stateful in Keras")  # as some mutants make it
        try:
            outcome: PortedModel | InputError = load_keras(path, config=CONFIG if alone else None)
        except InputError as error:
            outcome = error
    assert isinstance(outcome, PortedModel) or str(outcome).isprintable()
    assert time.perf_counter() - start < SECONDS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < 3 * sum(map(len, files.values())) + BYTES
    assert {str(p.relative_to(folder / "m")) for p in folder.rglob("*") if p.is_file()} == {*files}
    return outcome


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_mutated_files_give_a_model_or_one_line(seed: int, tmp_path: Path) -> None:
    opened(mutant(seed), tmp_path, seed)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.binary(max_size=500), graph=st.booleans())
def test_any_bytes_for_the_graph_of_objects_or_the_metadata_give_one_line(
    content: bytes, graph: bool, tmp_path: Path
) -> None:
    tensors = bb.small_tensors()
    tensors |= {bb.GRAPH: content} if graph else {}
    entries, data = bb.bundle(tensors)
    files = {INDEX: bb.table(entries), DATA: data, "keras_metadata.pb": content}
    assert isinstance(opened(files, tmp_path, 0 if graph else 1), InputError)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_twenty_thousand_mutated_folders(block: int, tmp_path: Path) -> None:
    seeds = range(block * 1000, block * 1000 + 1000)
    outcomes = [opened(mutant(seed), tmp_path, seed) for seed in seeds]
    models = sum(isinstance(outcome, PortedModel) for outcome in outcomes)
    assert 50 < models < 950  # else the mutations would be too weak, or too strong, to tell much
