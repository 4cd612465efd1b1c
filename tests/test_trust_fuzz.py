"""Whatever is done to a LitData set or a run's config, reading ends well or in one line."""

import json
import random
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from litsets import SAMPLES, nothing_run, optimized

from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import read
from grulight.data.sequences import Sequences
from grulight.errors import InputError
from grulight.run_data import data_settings

SEEDS: dict[str, list[Any]] = {
    "plain": [
        {"values": sample["values"], "label": at % 2, "id": f"s{at}"}
        for at, sample in enumerate(SAMPLES[:6])
    ],
    "values per step": [
        {"values": sample["values"], "label": np.full((len(sample["values"]), 2), at / 4)}
        for at, sample in enumerate(SAMPLES[:6])
    ],
    "nested": [
        {"values": np.ones((2, 3)), "label": "ab"[at % 2], "more": [{"x": True}, (0.5,)]}
        for at in range(6)
    ],
}
NUMBERS: tuple[Any, ...] = (0, 1, 2, 3, 7, -1, 8.5, 1 << 31, 1 << 32, 1 << 70, float("nan"), True)
TEXTS = (
    *("pickle", "numpy", "tensor", "str", "int", "bool", "video", "jpeg", "bytes", "zstd", "mds"),
    *("no_header_numpy:5", "no_header_tensor:1", "no_header_numpy:99", "numpy:pickle", ""),
    *("builtins.dict", "builtins.list", "builtins.tuple", "collections.defaultdict"),
    *("collections.OrderedDict", "collections.deque", "collections.namedtuple", '["values"]'),
    *("../x", "/etc/passwd", "chunk-0-0.bin", "chunk-0-1.bin", "index.json", "a;b", "\x00", "null"),
    *("PyTreeLoader", "TokensLoader", "ParquetLoader"),
)
LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return good sets."""
    folders = [tmp_path_factory.mktemp("set") for _ in SEEDS]
    for folder, samples in zip(folders, SEEDS.values(), strict=True):
        optimized(folder, samples)
    return [folder / "lit" for folder in folders]


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def waited(seconds: float) -> None:
        pytest.fail("LitData waits for a chunk")

    item_loader = pytest.importorskip("litdata.streaming.item_loader")
    monkeypatch.setattr(item_loader, "sleep", waited)


def anything(rng: random.Random) -> Any:
    return rng.choice(
        (
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice(TEXTS),
            lambda: rng.choice((None, [], {}, LEAF, [LEAF], ["values"], [[]] * 3)),
        )
    )()


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return where a value may stand in what JSON holds: container and key."""
    found: list[tuple[Any, Any]] = []
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for key in keys:
        found.append((node, key))
        if isinstance(node[key], (dict, list)):
            found += places(node[key])
    return found


def change(node: Any, rng: random.Random) -> None:
    """Change, drop or double one value somewhere below."""
    holder, key = rng.choice(places(node))
    what = rng.random()
    if what < 0.6:
        old = holder[key]
        near = isinstance(old, int) and rng.random() < 0.4
        holder[key] = old + rng.choice((-1, 1, 4)) if near else anything(rng)
    elif what < 0.8:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, json.loads(json.dumps(holder[key])))
    else:
        holder[rng.choice(TEXTS)] = anything(rng)


def indexed(folder: Path, rng: random.Random) -> None:
    path = folder / "index.json"
    index = json.loads(path.read_text())
    if rng.random() < 0.4:  # the form of a sample is JSON in JSON in JSON
        form = json.loads(index["config"]["data_spec"])
        if rng.random() < 0.3:
            names = json.loads(form[1]["context"])
            change(names, rng)
            form[1]["context"] = json.dumps(names)
        else:
            change(form, rng)
        index["config"]["data_spec"] = json.dumps(form)
    else:
        change(index["config" if rng.random() < 0.5 else "chunks"], rng)
    path.write_text(json.dumps(index))


def damaged(folder: Path, rng: random.Random) -> None:
    """Change whole words: offsets, sizes, types, axes and numbers are words of four bytes."""
    path = rng.choice(sorted(folder.glob("*.bin")))
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2))):
        at = 4 * rng.randrange(min(len(data) // 4, rng.choice((12, 24, 1000))))
        old = int(np.frombuffer(data, np.uint32, 1, at)[0])
        near = (old + rng.choice((-4, -1, 1, 4))) % 2**32
        new = rng.choice((near, near, 0, 1, 14, 2**31, 2**32 - 1, 0x7FC00000))
        data[at : at + 4] = np.uint32(new).tobytes()
    path.write_bytes(data)


def resized(folder: Path, rng: random.Random) -> None:
    path = rng.choice(sorted(folder.glob("*.bin")))
    data = path.read_bytes()
    size = rng.choice((0, 1, 8, len(data) - 1, len(data) - 4, len(data) + 4, len(data) + 5))
    path.write_bytes((data + bytes(8))[:size])
    if rng.random() < 0.7:
        index = json.loads((folder / "index.json").read_text())
        for each in index["chunks"]:
            if isinstance(each, dict) and each.get("filename") == path.name:
                each["chunk_bytes"] = size
        (folder / "index.json").write_text(json.dumps(index))


def scribbled(folder: Path, rng: random.Random) -> None:
    path = folder / "index.json"
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    data[at : at + rng.choice((0, 1, 5))] = rng.choice(
        (b"", b"[" * 3000, b"9" * 5000, b"NaN", b'"', b"\xff", b"{", b"1e999")
    )
    path.write_bytes(data)


MUTATIONS: tuple[Callable[[Path, random.Random], None], ...] = (
    *(indexed, indexed, indexed),
    *(damaged, damaged),
    *(resized, scribbled),
)


def one_line(error: InputError, most: int) -> InputError:
    assert len(str(error)) <= most
    assert "\n" not in str(error)
    return error


def read_mutant(seed: int, sets: list[Path], folder: Path) -> Sequences | InputError:
    rng = random.Random(seed)
    copy = folder / "mutant"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(rng.choice(sets), copy)
    rng.choice(MUTATIONS)(copy, rng)
    with nothing_run():
        try:
            found = read(f"litdata:{copy}")
            values = found.values[np.arange(len(found)), : int(found.lengths.max())]
        except InputError as error:
            return one_line(error, 500)
    assert found.labels is not None
    assert len(values) == len(found.labels) == len(found.ids) == len(found)
    assert np.isfinite(values).all()
    return found


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_a_mutated_set_is_read_or_gives_one_line(
    seed: int, sets: list[Path], tmp_path: Path
) -> None:
    read_mutant(seed, sets, tmp_path)


def test_unchanged_sets_are_read(sets: list[Path]) -> None:
    for path in sets:
        assert len(read(f"litdata:{path}")) == 6


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_twenty_thousand_mutated_sets(block: int, sets: list[Path], tmp_path: Path) -> None:
    seeds = range(block * 1000, block * 1000 + 1000)
    outcomes = [read_mutant(seed, sets, tmp_path) for seed in seeds]
    good = sum(isinstance(outcome, Sequences) for outcome in outcomes)
    assert 50 < good < 950  # else the mutations would be too weak, or too strong, to tell much


DATA: dict[str, Any] = {
    **{"source": "waves", "test_source": None, "train_size": 0.8, "val_size": 0.0},
    **{"batch_size": 32, "standardize": False, "label": "label", "sequence": "sequence"},
    **{"time": "time", "features": None, "labels_file": None, "lengths_file": None},
    **{"class_names": None, "targets": "auto", "per_step": None, "num_classes": None, "seed": None},
}
CHOICES: tuple[Any, ...] = (
    *NUMBERS,
    *(0.5, 999, 1000, 1001, 1e308, 10**400, float("inf"), None),
    *("waves", "gone.csv", "aeon:None", "litdata:s3://b/x", ".", "/dev/zero", "a\nb", "\x1b[2J"),
    *("auto", "classes", "values", "x" * 5000),
    *([], ["up"], ["up", "down", "still"], ["x0", "x1", "x2", "x3", "x4"], [["x"]], [1.5]),
    *({}, {"class_path": "os.system", "init_args": {"command": "mkdir mark"}}),
)
SCRIBBLES = (
    *(
        "&a ",
        "*a",
        "<<: ",
        "!!python/object/apply:os.system ",
        "!!timestamp ",
        "!!float ",
        "!!int ",
    ),
    *("!!bool ", "!!binary ", "!!set ", "!!omap ", "? ", "- ", ": ", "[", "]", "{", "}", "---\n"),
    *(
        "[" * 2000,
        "9" * 5000,
        "2001-99-99",
        "190:20:30",
        "\x00",
        "\u2028",
        "\t",
        '"',
        "|\n",
        "%TAG",
    ),
)


def written_config(seed: int) -> str:
    rng = random.Random(seed)
    data = dict(DATA)
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        data[rng.choice((*DATA, *DATA, "foo", "class_path"))] = rng.choice(CHOICES)
    whole = {"seed_everything": 1, "data": data, "model": {"hidden_size": 16}}
    text: str = yaml.safe_dump(whole, default_flow_style=rng.random() < 0.3)
    for _ in range(rng.choice((0, 0, 1, 2))):
        at = rng.randrange(len(text))
        some = rng.choice((*SCRIBBLES, rng.choice(string.printable)))
        text = text[:at] + some + text[at + rng.choice((0, 1, 7)) :]
    return text


def read_config(text: str, run: Path) -> SequenceDataModule | InputError:
    (run / "config.yaml").write_bytes(text.encode())
    said: list[str] = []
    try:
        with nothing_run():
            chosen = data_settings(run / "checkpoints" / "last.ckpt", say=said.append)
            data = SequenceDataModule(**chosen)
            assert len(data.parts.train)
    except InputError as error:
        return one_line(error, 5500)  # a path may take 4096
    [line] = said
    assert line.startswith("data: waves, ")  # there may be a test part too
    assert line.endswith(f"as {run}/config.yaml beside the checkpoint says")
    return data


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_a_mutated_config_names_data_or_gives_one_line(seed: int, tmp_path: Path) -> None:
    read_config(written_config(seed), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_twenty_thousand_mutated_configs(block: int, tmp_path: Path) -> None:
    seeds = range(block * 1000, block * 1000 + 1000)
    outcomes = [read_config(written_config(seed), tmp_path) for seed in seeds]
    good = sum(isinstance(outcome, SequenceDataModule) for outcome in outcomes)
    assert 50 < good < 950
