"""Whatever is done to a folder of TensorFlow.js, to shards or to `.npz`: a model, or one line."""

import json
import random
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import kerasbytes as kb
import pytest
import storebytes as sb
from hypothesis import HealthCheck, given, settings
from test_keras_fuzz import BYTES, SECONDS, cut, doubled, enlarged, flipped, renamed

from grulight.errors import InputError
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel

CONFIG = sb.small_config()
MUTATIONS = (flipped, cut, enlarged, renamed, doubled)
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 1 << 40, 1e308, float("nan"), float("inf"), 10**400, "uint8"),
    *("../x", "/etc/passwd", "model.json", "group1-shard1of3.bin", "float32", "\n", "x" * 2000),
    *([], [None], [1] * 20, [-1, 12], {}, {"a": [{}]}, {"dtype": "uint8", "scale": 1, "min": 0}),
)


def _seeds() -> dict[str, sb.Files]:
    tree = kb.small_tree()
    return {
        "one shard": sb.small_tensorflow_js(shard=1 << 20),
        "shards in groups": sb.small_tensorflow_js(groups=2),
        "quantised": sb.small_tensorflow_js(kept="uint8"),
        "rounded": sb.small_tensorflow_js(kept="float16"),
        "paths of keras 3": sb.tensorflow_js({"model_config": CONFIG}, tree),
        "shards of hdf5": sb.shards(tree),
        "npz": {"model.keras": sb.keras_npz(sb.npz(sb.grouped(tree)))},
        "plain npz": {"model.keras": sb.keras_npz(sb.npz(tree))},
    }


SEEDS = _seeds()


def opened(files: sb.Files, folder: Path) -> PortedModel | InputError:
    """Open the files, and check what must hold however they came about."""
    for each in folder.iterdir():
        each.unlink()
    sb.written(folder, files)
    single = next((n for n in files if n.endswith((".keras", ".weights.json"))), "model.json")
    path = folder / single
    config = CONFIG if single.endswith(".weights.json") else None
    start = time.process_time()  # others may use the cores too
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is stateful in Keras")  # as some mutants make it
        try:
            outcome: PortedModel | InputError = load_keras(path, config=config)
        except InputError as error:
            outcome = error
    assert isinstance(outcome, PortedModel) or str(outcome).isprintable()
    assert time.process_time() - start < SECONDS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < 3 * sum(map(len, files.values())) + BYTES
    assert {each.name for each in folder.iterdir()} == {*files}
    return outcome


def other_bytes(files: sb.Files, rng: random.Random) -> sb.Files:
    """Change the bytes of one file."""
    name = rng.choice([*files])
    return {**files, name: rng.choice(MUTATIONS)(files[name], rng) or b"\x00"}


def other_json(files: sb.Files, rng: random.Random) -> sb.Files:
    """Change one value, one key or one item of what the JSON says."""
    name = next((name for name in files if name.endswith(".json")), None)
    if name is None:
        return other_bytes(files, rng)
    try:
        model = json.loads(files[name])
    except ValueError:  # changed before
        return files
    places: list[tuple[Any, Any]] = []
    stack = [model]
    while stack:
        node = stack.pop()
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        places += [(node, key) for key in keys]
        stack += [node[key] for key in keys if isinstance(node[key], (dict, list))]
    if not places:
        return files
    node, key = rng.choice(places)
    change: Callable[[], object] = rng.choice(
        (
            lambda: node.__setitem__(key, rng.choice(ODD)),
            lambda: node.__delitem__(key),
            lambda: node.__setitem__(key, rng.choice(places)[0]),
            lambda: node.__setitem__(key, node[rng.choice([*_keys(node)])]),
        )
    )
    change()
    try:
        return {**files, name: json.dumps(model).encode()}
    except (ValueError, RecursionError):  # it holds itself
        return files


def _keys(node: Any) -> Any:
    return node.keys() if isinstance(node, dict) else range(len(node))


def fewer_files(files: sb.Files, rng: random.Random) -> sb.Files:
    """Leave out a file, or let two change places."""
    names = [*files]
    one, other = rng.choice(names), rng.choice(names)
    if one == other and len(names) > 1:
        return {name: content for name, content in files.items() if name != one}
    return {**files, one: files[other], other: files[one]}


def repacked(files: sb.Files, rng: random.Random) -> sb.Files:
    """Change what lies inside the zip of a `.npz`, so that its checksums are right."""
    if "model.keras" not in files:
        return other_json(files, rng)
    members = sb.grouped(kb.small_tree()) if rng.random() < 0.6 else dict(kb.small_tree())
    content = bytearray(sb.npz(members))
    raw = sb.unzipped(bytes(content))
    name = rng.choice([*raw])
    raw[name] = rng.choice(MUTATIONS)(raw[name], rng) or b"\x00"
    return {"model.keras": sb.keras_npz(sb.zipped(raw))}


CHANGES = (other_bytes, other_json, other_json, fewer_files, repacked, repacked)


def mutant(seed: int) -> sb.Files:
    rng = random.Random(seed)
    files = SEEDS[rng.choice([*SEEDS])]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        files = rng.choice(CHANGES)(files, rng)
    return files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "folder"
    inside.mkdir()
    return inside


@pytest.mark.parametrize("name", SEEDS)
def test_unchanged_seeds_give_models(name: str, folder: Path) -> None:
    assert isinstance(opened(SEEDS[name], folder), PortedModel)


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_mutated_files_give_a_model_or_one_line(seed: int, folder: Path) -> None:
    opened(mutant(seed), folder)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_twenty_thousand_mutated_stores(block: int, folder: Path) -> None:
    seeds = range(block * 1000, block * 1000 + 1000)
    outcomes = [opened(mutant(seed), folder) for seed in seeds]
    models = sum(isinstance(outcome, PortedModel) for outcome in outcomes)
    assert 50 < models < 950  # else the mutations would be too weak, or too strong, to tell much
