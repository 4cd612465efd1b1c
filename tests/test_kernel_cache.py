"""Compiled kernels are kept on disk; what becomes of the disk costs time and nothing else."""

import logging
from pathlib import Path
from typing import Any

import pytest
from numba.core import config


@pytest.fixture
def twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what compiles a small kernel anew, which its cache in ``tmp_path`` may hold."""
    from grulight.kernels import numba_simd

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    numba_simd._say_once.cache_clear()

    def compiled() -> Any:
        def double(x: int) -> int:
            return 2 * x

        return numba_simd.compiled(double)

    return compiled


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("kept", [0, 20])
def test_a_file_that_is_cut_off_is_compiled_anew(
    twice: Any, suffix: str, kept: int, tmp_path: Path
) -> None:
    assert twice()(4) == 8
    [path] = tmp_path.rglob(f"*.{suffix}")
    path.write_bytes(path.read_bytes()[:kept])
    for hits in (0, 1):  # the second time it is whole again
        kernel = twice()
        assert kernel(4) == 8
        assert sum(kernel.stats.cache_hits.values()) == hits


def test_a_full_disk_is_told_once_and_borne(
    twice: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Any, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", refuse)
    with caplog.at_level(logging.WARNING):
        assert [twice()(4) for _ in range(2)] == [8, 8]
    [record] = caplog.records
    assert "No space left on device" in record.getMessage()


def test_what_is_on_disk_is_loaded_without_what_compiling_takes(
    twice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert twice()(4) == 8

    def refuse(self: Any) -> None:
        raise AssertionError("half a second and 50 MB for nothing")

    monkeypatch.setattr("numba.core.cpu.CPUContext.refresh", refuse)
    assert twice()(4) == 8
