"""Whatever is done to a file, opening it ends in a model or in one line, soon and in bounds."""

import io
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hypothesis.strategies as st
import kerasbytes as kb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from grulight.errors import InputError
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel

SECONDS = 5.0
BYTES = 200 << 20


def seeds() -> dict[str, bytes]:
    """Return good files of each layout."""
    config, weights = kb.small_model()
    return {
        "legacy": kb.legacy(config, weights),
        "native": kb.zipped(config, kb.native_hdf5(kb.small_tree())),
        "keras 1": kb.legacy(config, weights, None),
        "repacked": repacked(kb.legacy(config, weights)),
        "repacked in the newest format": repacked(kb.legacy(config, weights), libver="latest"),
    }


def repacked(content: bytes, **settings: Any) -> bytes:
    """Return a file with its arrays in chunks of every kind, and its names and texts in heaps."""
    buffer = io.BytesIO()
    with (
        h5py.File(io.BytesIO(content)) as old,
        h5py.File(buffer, "w", track_order=True, **settings) as new,
    ):

        def copy(name: str, held: h5py.Group | h5py.Dataset) -> None:
            if isinstance(held, h5py.Dataset):
                chunks = (
                    held.shape if "recurrent" in name else tuple(-(-n // 2) for n in held.shape)
                )
                filters = {"compression": "gzip", "shuffle": True} if "kernel" in name else {}
                made = new.create_dataset(name, data=held[()], chunks=chunks, **filters)
            else:
                made = new.require_group(name)
            attributes = {**held.attrs, **{f"note {at}": at for at in range(10)}}
            for key, value in attributes.items():
                made.attrs[key] = value

        old.visititems(copy)
        new.attrs.update(old.attrs)
        for at in range(12):
            new["model_weights"].create_group(f"unused {at}")
    return buffer.getvalue()


SEEDS = seeds()


def opened(content: bytes, folder: Path) -> PortedModel | InputError:
    """Open the bytes, and check what must hold however they came about."""
    path = folder / "mutant"
    path.write_bytes(content)
    start = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        outcome: PortedModel | InputError = load_keras(path)
    except InputError as error:
        outcome = error
    assert isinstance(outcome, PortedModel) or str(outcome).isprintable()
    assert time.perf_counter() - start < SECONDS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < 3 * len(content) + BYTES
    assert [each.name for each in folder.iterdir()] == ["mutant"]
    return outcome


def flipped(content: bytes, rng: random.Random) -> bytes:
    """Change a few bytes anywhere."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        changed[rng.randrange(len(changed))] = rng.choice((0, 255, 1 << 7, rng.randrange(256)))
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    """Cut off the end, or a piece from the middle."""
    start, end = sorted(rng.randrange(len(content)) for _ in range(2))
    return content[:end] if rng.random() < 0.5 else content[:start] + content[end:]


def enlarged(content: bytes, rng: random.Random) -> bytes:
    """Write a huge number where eight bytes of structure may be."""
    changed = bytearray(content)
    at = rng.randrange(max(1, len(changed) - 8))
    value = rng.choice((2**63 - 1, 2**32 - 1, 2**40, 2**20, len(content)))
    changed[at : at + 8] = value.to_bytes(8, "little")
    return bytes(changed)


def renamed(content: bytes, rng: random.Random) -> bytes:
    """Swap one word for another of its length."""
    old, new = rng.sample((b"gru", b"GRU", b"xyz", b"../", b"\\\\x", b"\x00ab"), 2)
    return content.replace(old, new, rng.choice((1, 2, -1)))


def doubled(content: bytes, rng: random.Random) -> bytes:
    """Copy one piece of the file over another."""
    size = rng.choice((8, 16, 40, 96, 512))
    source, target = (rng.randrange(max(1, len(content) - size)) for _ in range(2))
    return content[:target] + content[source : source + size] + content[target + size :]


def reshaped(content: bytes, rng: random.Random) -> bytes:
    """Write the file anew with arrays of other shapes and types, links, and other settings."""
    config, weights = kb.small_model()
    layers: list[dict[str, Any]] = config["config"]["layers"]
    target = rng.choice(layers)["config"]
    target[rng.choice([*target, "dropout", "batch_input_shape"])] = rng.choice(
        (None, True, -1, 0, 3, 1 << 40, 1e308, "relu", [], [None], [1] * 20, {}, {"a": [{}]})
    )
    places = ["model_weights/gru/gru/kernel:0", "model_weights/dense/dense/bias:0"]
    makers: list[Callable[[h5py.File, str], object]] = [
        lambda file, at: file.create_dataset(at, data=np.ones(rng.choices(range(6), k=2), "f4")),
        lambda file, at: file.create_dataset(at, data=np.ones((3, 12), rng.choice(("i8", "f2")))),
        lambda file, at: file.create_dataset(at, (3, 1 << 40), "f4", chunks=(3, 64)),
        lambda file, at: file.create_group(at),
        lambda file, at: file.__setitem__(at, h5py.SoftLink("/model_weights")),
        lambda file, at: file.__setitem__(at, h5py.ExternalLink("/etc/passwd", "/")),
        lambda file, at: file.__setitem__(at, file["model_weights"]),
        lambda file, at: None,
    ]

    def change(file: h5py.File) -> None:
        if rng.random() < 0.7:
            at = rng.choice(places)
            del file[at]
            rng.choice(makers)(file, at)
        if rng.random() < 0.3:
            file["model_weights/gru"].attrs["weight_names"] = rng.choice(
                ([b"gru/kernel:0"], [b"../x"], b"one text", [1.0], [b"x" * 1000] * 50)
            )

    return kb.legacy(config, weights, change=change)


MUTATIONS = (flipped, cut, enlarged, renamed, doubled, reshaped)


def mutant(seed: int) -> bytes:
    rng = random.Random(seed)
    content = SEEDS[rng.choice(list(SEEDS))]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(MUTATIONS)(content, rng) or b"\x00"
    return content


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_mutated_file_gives_a_model_or_one_line(seed: int, tmp_path: Path) -> None:
    opened(mutant(seed), tmp_path)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.binary(max_size=2000),
    magic=st.sampled_from((b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n")),
)
def test_any_bytes_give_one_line(content: bytes, magic: bytes, tmp_path: Path) -> None:
    assert isinstance(opened(magic + content, tmp_path), InputError)


def test_unchanged_seeds_give_models(tmp_path: Path) -> None:
    assert isinstance(opened(SEEDS["legacy"], tmp_path), PortedModel)
    assert isinstance(opened(SEEDS["native"], tmp_path), PortedModel)
    assert isinstance(opened(SEEDS["repacked"], tmp_path), PortedModel)
    assert isinstance(opened(SEEDS["repacked in the newest format"], tmp_path), PortedModel)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_twenty_thousand_mutated_files(block: int, tmp_path: Path) -> None:
    outcomes = [opened(mutant(seed), tmp_path) for seed in range(block * 1000, block * 1000 + 1000)]
    models = sum(isinstance(outcome, PortedModel) for outcome in outcomes)
    assert 50 < models < 950  # else the mutations would be too weak, or too strong, to tell much
