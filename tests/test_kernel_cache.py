"""Compiled kernels are kept on disk; what becomes of the disk costs time and nothing else."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, invalidate_caches
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core import config

from grulight.kernels import numba_cache

NUMBERS = ("int8", "int32", "int64", "uint8", "float32", "float64")


@pytest.fixture
def twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what compiles a small kernel anew, which its cache in ``tmp_path`` may hold."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    numba_cache._say_once.cache_clear()

    def compiled() -> Any:
        def double(x: Any) -> Any:
            return 2 * x

        return numba_cache.compiled(double)

    return compiled


@pytest.mark.parametrize("kept", [0, 20])
def test_a_file_that_is_cut_off_is_compiled_anew(twice: Any, kept: int, tmp_path: Path) -> None:
    assert twice()(4) == 8
    [path] = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[:kept])
    for hits in (0, 1):  # the second time it is whole again
        kernel = twice()
        assert kernel(4) == 8
        assert sum(kernel.stats.cache_hits.values()) == hits


def test_only_what_python_calls_becomes_machine_code(twice: Any) -> None:
    @numba_cache.jit
    def part(x: Any) -> Any:
        return 3 * x

    def kernel(x: Any) -> Any:
        return part(x) + 1

    assert numba_cache.compiled(kernel)(4) == 13
    [found] = part.overloads.values()
    engine = found.library.codegen._engine
    assert not engine.is_symbol_defined(found.fndesc.llvm_func_name)
    with pytest.raises(TypeError):
        part(4)


def test_a_full_disk_is_told_once_and_borne(
    twice: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Any, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._save_data", refuse)
    with caplog.at_level(logging.WARNING):
        assert [twice()(4) for _ in range(2)] == [8, 8]
    [record] = caplog.records
    assert "No space left on device" in record.getMessage()


def test_processes_that_compile_at_once_keep_each_its_own(twice: Any) -> None:
    fork = get_context("fork")
    together = fork.Barrier(3, timeout=60)  # one that fails breaks it

    def compile_all(first: int) -> None:
        kernel = twice()
        for name in (*NUMBERS[first:], *NUMBERS[:first]):
            together.wait()
            kernel(np.ones(3, name))

    processes = [fork.Process(target=compile_all, args=(2 * n,)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    kernel = twice()
    for name in NUMBERS:
        assert kernel(np.full(3, 7, name)).tolist() == [14] * 3
    assert sum(kernel.stats.cache_hits.values()) == len(NUMBERS)


def test_kernels_that_differ_differ_in_their_names() -> None:
    # else a process takes one for another that was kept: Numba numbers namesakes in each anew
    script = """
import gc
from collections import Counter
import numba.core.registry
from grulight.kernels import numba_training
kernels = [each for each in gc.get_objects() if isinstance(each, numba.core.registry.CPUDispatcher)]
ours = [each.py_func for each in kernels if each.py_func.__module__.startswith("grulight.")]
names = Counter((each.__module__, each.__qualname__) for each in ours)
print(len(ours), [name for name, count in names.items() if count > 1])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    count, repeated = done.stdout.split(" ", 1)
    assert int(count) > 20
    assert repeated == "[]\n"


class Tree:
    """Two kernel files, of which one is a part of the other's kernel, imported at will."""

    NAMES = ("numba_cache", "inner_parts", "numba_outer")

    def __init__(self, directory: Path) -> None:
        self.directory, self.inner = directory, directory / "inner_parts.py"
        shutil.copy(numba_cache.__file__, directory / "numba_cache.py")
        (directory / "numba_outer.py").write_text(
            "from numba_cache import compiled\nfrom inner_parts import inner\n\n\n"
            "@compiled\ndef outer(x):\n    return inner(x)\n"
        )
        self.times(2)

    def times(self, factor: int) -> None:
        """Write the inner kernel: a file of the same size each time."""
        self.inner.write_text(
            f"from numba_cache import jit\n\n\n@jit\ndef inner(x):\n    return {factor} * x\n"
        )
        self.stamp = getattr(self, "stamp", 1_700_000_000) + 10
        os.utime(self.inner, (self.stamp, self.stamp))

    def imported(self) -> Any:
        """Return the outer kernel as a new process would import it."""
        for name in self.NAMES:
            sys.modules.pop(name, None)
        invalidate_caches()
        return import_module("numba_outer").outer

    def kept(self) -> list[Path]:
        return list(self.directory.rglob("*.nbc"))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "kept"))
    yield Tree(tmp_path)
    for name in Tree.NAMES:
        sys.modules.pop(name, None)


def test_a_change_of_one_file_reaches_the_kernels_of_another(tree: Tree) -> None:
    for factor, hits in ((2, 0), (3, 0), (2, 1)):  # the first is kept, and found again
        tree.times(factor)
        kernel = tree.imported()
        assert kernel(1.0) == factor
        assert sum(kernel.stats.cache_hits.values()) == hits


def test_what_was_imported_before_a_change_is_not_kept_after_it(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    before = tree.imported()
    tree.times(3)
    assert before(1.0) == 2
    assert tree.kept() == []
    assert "changed since they were imported" in caplog.text
    assert tree.imported()(1.0) == 3


def test_a_change_that_was_taken_back_is_not_kept(tree: Tree) -> None:
    """The first file was imported, and the last is there again; between them lay another."""
    tree.times(3)
    kernel = tree.imported()
    tree.times(2)
    cache = sys.modules["numba_cache"]
    cache.SOURCES = cache._sources()  # type: ignore[attr-defined]  # what it was before the change
    assert kernel(1.0) == 3
    assert tree.kept() == []


def test_what_python_took_from_stale_bytecode_is_not_kept(tree: Tree) -> None:
    tree.imported()
    stamp = tree.stamp
    tree.times(3)
    os.utime(tree.inner, (stamp, stamp))  # of the same time and size: Python sees no change
    assert tree.imported()(1.0) == 2
    assert tree.kept() == []
    os.utime(tree.inner)
    assert tree.imported()(1.0) == 3


def test_what_is_on_disk_is_loaded_without_what_compiling_takes(
    twice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert twice()(4) == 8

    def refuse(self: Any) -> None:
        raise AssertionError("half a second and 50 MB for nothing")

    monkeypatch.setattr("numba.core.cpu.CPUContext.refresh", refuse)
    assert twice()(4) == 8
