"""LitData sets as files, good ones and others."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = [
    {
        "values": np.random.default_rng(at).normal(size=(3 + at % 6, 2)).astype(np.float32),
        "label": ("up", "down")[at % 2],
        "id": f"s{at}",
    }
    for at in range(50)
]


def optimized(folder: Path, samples: list[Mapping[str, object]]) -> str:
    # what litdata.optimize() writes with, without the processes that it starts
    from litdata.streaming.cache import Cache

    cache = Cache(str(folder / "lit"), chunk_size=8)
    for at, sample in enumerate(samples):
        cache[at] = sample
    cache.done()
    cache.merge()
    return f"litdata:{folder / 'lit'}"


def changed_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the index of the set in ``folder``."""
    path = folder / "lit" / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


_RUNS_CODE = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")
_REMOVES = ("os.remove", "shutil.rmtree")
_watched: tuple[str, ...] = ()
_seen: list[str] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _watched:
        _seen.append(f"{event} {arguments}")


@contextlib.contextmanager
def nothing_run(removed: bool = True) -> Iterator[None]:
    """Check that Python starts no program, unpickles no class and removes no file meanwhile.

    Args:
        removed: Whether files may not be removed either.
    """
    global _watched
    if not getattr(_audit, "added", False):
        sys.addaudithook(_audit)  # for good: Python removes none
        _audit.added = True  # type: ignore[attr-defined]
    _seen.clear()
    _watched = (*_RUNS_CODE, *_REMOVES) if removed else _RUNS_CODE
    try:
        yield
    finally:
        _watched = ()
    assert not _seen, _seen
