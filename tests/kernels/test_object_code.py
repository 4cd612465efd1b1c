"""Kernels that are found on disk are called without Numba, and are what Numba makes of them."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

from grulight.kernels import compiled, object_code, object_files
from grulight.kernels.compiled import Kernel
from grulight.kernels.fused import FusedGRU
from grulight.kernels.prediction import Predictor
from grulight.kernels.steps import Adam, State, train_steps

KERNELS = {"forward", "backward", "total", "predict", "train"}
DTYPES = ("float32", "float64")
Way = Callable[..., None]


def used(dtype: str) -> None:
    """Call each kernel, as training and prediction do."""
    draw = np.random.default_rng(3)
    gru = FusedGRU(3, 5, batch_first=True, kernel="numba").to(getattr(torch, dtype))
    gru(torch.tensor(draw.normal(size=(4, 6, 3)).astype(dtype)))[0].sum().backward()
    shapes = (15, 3), (15, 5), (15,), (15,), (1, 5), (1,)
    weights = [draw.normal(size=shape).astype(dtype) for shape in shapes]
    values, lengths = draw.normal(size=(8, 6, 3)).astype(dtype), draw.integers(1, 7, 8)
    Predictor(weights)(values, lengths)
    flat = np.concatenate([weight.ravel() for weight in weights])
    state = State(flat, np.zeros_like(flat), np.zeros_like(flat))
    labels = draw.integers(0, 2, 8)
    train_steps(state, 0, Adam(), (3, 5, True), (values, lengths, labels), [np.arange(8)])


def ways(kernel: Kernel, arguments: tuple[Any, ...]) -> tuple[Way, Way]:
    """Return a kernel from its object code and through Numba, which keeps it where it is not."""
    numba = getattr(import_module(f"grulight.kernels.{kernel._module}"), kernel._name)
    numba.compile(tuple(map(numba.typeof_pyval, arguments)))
    ours = kernel._kept(tuple(map(compiled._kind, arguments)))
    assert ours is not None
    return ours, numba


def arrays(arguments: tuple[Any, ...]) -> list[np.ndarray]:
    nested = (each if isinstance(each, tuple) else (each,) for each in arguments)
    return [each for some in nested for each in some if isinstance(each, np.ndarray)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, ...]]:
    """Note what each kernel is called with, before it is."""
    noted: dict[str, tuple[Any, ...]] = {}

    def call(kernel: Kernel, *arguments: Any) -> None:
        noted[kernel._name] = deepcopy(arguments)
        ways(kernel, arguments)[1](*arguments)

    monkeypatch.setattr(Kernel, "__call__", call)
    monkeypatch.setattr(Kernel, "like", lambda kernel, *_: partial(call, kernel))
    return noted


@pytest.fixture
def total(calls: dict[str, tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return arguments of the kernel ``total``, which is kept."""
    used("float32")
    return calls["total"]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where object code is kept within a test."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_ways_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    called = set()

    def call(kernel: Kernel, *ours: Any) -> None:
        theirs = deepcopy(ours)
        for way, arguments in zip(ways(kernel, ours), (ours, theirs), strict=True):
            way(*arguments)
        for our, their in zip(arrays(ours), arrays(theirs), strict=True):
            assert our.tobytes() == their.tobytes()
        called.add(kernel._name)

    monkeypatch.setattr(Kernel, "__call__", call)
    monkeypatch.setattr(Kernel, "like", lambda kernel, *_: partial(call, kernel))
    used(dtype)
    assert called == KERNELS


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_process_that_finds_its_kernels_does_not_import_numba(calls: Any, dtype: str) -> None:
    used(dtype)  # kept from now on
    script = f"import sys, test_object_code as t; t.used({dtype!r}); print('numba' in sys.modules)"
    command, folder = [sys.executable, "-c", script], Path(__file__).parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_a_kernel_raises_arrives(calls: dict[str, tuple[Any, ...]]) -> None:
    used("float32")
    given = calls["train"]
    starts = np.array([0, 2**50])  # of more sequences than memory holds
    arguments = (*given[:-6], starts, *given[-5:])
    for way in ways(compiled.train, arguments):
        with pytest.raises(MemoryError):
            way(*arguments)


def test_threads_that_need_a_kernel_at_once_get_it(
    total: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    kernel, together = Kernel("numba_cpu", "total"), Barrier(4, timeout=60)
    loads: list[object] = []
    load = object_code.load
    monkeypatch.setattr(object_code, "load", lambda kept: loads.append(kept) or load(kept))

    def work(_: int) -> bytes:
        arguments = deepcopy(total)
        together.wait()
        for _ in range(200):
            kernel(*arguments[:-1], np.empty_like(arguments[-1]))
        kernel(*arguments)
        found: bytes = arguments[-1].tobytes()
        return found

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(work, range(4)))
    assert len(found) == len(loads) == 1


FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[:-9],
    "empty": lambda content: b"",
    "a bit is wrong": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "another file": lambda content: b"\x7fELF" * 99,
}


def kept(total: tuple[Any, ...]) -> tuple[str, str, str, object_files.ObjectCode]:
    kinds = ", ".join(map(compiled._in_words, map(compiled._kind, total)))
    code = object_files.read("numba_cpu", "total", kinds)
    assert code is not None
    return "numba_cpu", "total", kinds, code


def falls_back(total: tuple[Any, ...]) -> bool:
    """Return whether Numba is asked, having checked that the kernel works."""
    kernel, arguments = Kernel("numba_cpu", "total"), deepcopy(total)
    way = kernel._find(tuple(map(compiled._kind, arguments)))
    way(*arguments)
    theirs = deepcopy(total)
    numba = import_module("grulight.kernels.numba_cpu").total
    numba(*theirs)
    np.testing.assert_array_equal(arguments[-1], theirs[-1])
    return way is numba


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_damaged_file_is_made_anew(
    total: tuple[Any, ...], request: pytest.FixtureRequest, fault: Callable[[bytes], bytes]
) -> None:
    held = kept(total)
    folder = request.getfixturevalue("empty")
    assert falls_back(total)
    object_files.write(*held)
    assert not falls_back(total)
    [file] = folder.rglob("*.kernel")
    file.write_bytes(fault(file.read_bytes()))
    assert falls_back(total)
    object_files.write(*held)
    assert not falls_back(total)


def test_a_file_under_the_name_of_another_is_not_loaded(
    total: tuple[Any, ...], request: pytest.FixtureRequest
) -> None:
    module, name, kinds, code = kept(total)
    folder = request.getfixturevalue("empty")
    object_files.write(module, name, kinds.replace("32", "16"), code)
    [file] = folder.rglob("*.kernel")
    file.rename(file.with_name(object_files._name(module, name, kinds)))
    assert falls_back(total)


@pytest.mark.parametrize(
    ("name", "value"), [("SOURCES", "other"), ("version", lambda package: "99")]
)
def test_what_was_compiled_from_or_by_something_else_is_not_taken(
    total: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    assert not falls_back(total)
    conditions = object_files._conditions.__wrapped__
    monkeypatch.setattr(object_files, "_conditions", conditions)
    assert not falls_back(total)
    monkeypatch.setattr(object_files, name, value)
    assert falls_back(total)


def test_settings_of_numba_are_kept_apart(
    total: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    conditions = object_files._conditions.__wrapped__
    monkeypatch.setattr(object_files, "_conditions", conditions)
    monkeypatch.chdir(tmp_path)
    assert not falls_back(total)
    Path(".numba_config.yaml").write_text("opt: 1\n")
    assert falls_back(total)
    Path(".numba_config.yaml").unlink()
    monkeypatch.setenv("NUMBA_OPT", "1")
    assert falls_back(total)


def test_a_part_of_numba_or_a_symbol_that_is_missing_leaves_it_to_numba(
    total: tuple[Any, ...], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, kinds, code = kept(total)
    folder = request.getfixturevalue("empty")
    wrong = code._replace(code=code.code.replace(b"\0NRT_Free\0", b"\0NRT_Fred\0"))
    assert "NRT_Fred" in wrong.undefined()  # LLVM ends a process that asks for it
    object_files.write(module, name, kinds, wrong)
    assert falls_back(total)
    [file] = folder.rglob("*.kernel")
    file.unlink()
    object_files.write(module, name, kinds, code)
    assert not falls_back(total)
    monkeypatch.setattr(object_code, "find_spec", lambda name: None)
    monkeypatch.setattr(object_code, "_extension", object_code._extension.__wrapped__)
    monkeypatch.delitem(sys.modules, "numba._dynfunc")
    assert falls_back(total)


def test_what_numba_finds_on_disk_is_kept_for_those_without_it(
    total: tuple[Any, ...], request: pytest.FixtureRequest
) -> None:
    held = kept(total)
    request.getfixturevalue("empty")
    assert object_files.read(*held[:3]) is None
    cpu, cache = (import_module(f"grulight.kernels.numba_{name}") for name in ("cpu", "cache"))
    again = cache.compiled(cpu.total.py_func)
    again.compile(tuple(map(again.typeof_pyval, total)))
    assert sum(again.stats.cache_hits.values()) == 1
    assert object_files.read(*held[:3]) == held[3]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 6))[:, ::2],
        np.zeros((4, 6), order="F"),
        np.zeros((4, 6), ">f8"),
        np.broadcast_to(np.zeros(6), (4, 6)),
        "text",
        None,
    ],
)
def test_only_plain_arrays_have_object_code(array: object, tmp_path: Path) -> None:
    in_a_file = np.memmap(tmp_path / "numbers", np.float64, "w+", shape=(4, 6))
    assert compiled._in_words(compiled._kind(in_a_file)) == "array(float64, 2d, C)"
    with pytest.raises(LookupError):
        compiled._in_words(compiled._kind(array))
