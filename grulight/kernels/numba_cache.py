"""Kernels for CPUs are compiled here, and kept on disk under what they were compiled from.

Numba's own cache names a function's file after that function's source file and its time alone, and
keeps an index that processes read and write at once: one could find another's kernel in it.
"""

import inspect
import logging
import marshal
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import CodeType
from typing import Any

from numba import config, njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.runtime import rtsys
from numba.extending import register_jitable

from grulight.errors import one_line
from grulight.kernels.numba_parts import PartCompiler


def _sources() -> str:
    """Return a digest of this folder: kernels are made of several files, and of their constants."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


SOURCES = _sources()
BOUNDSCHECK = bool(config.BOUNDSCHECK)  # NUMBA_BOUNDSCHECK of the environment

_executed: dict[Path, CodeType] = {}  # a kernel file, and what Python made of it


def jit(function: Callable[..., Any]) -> Any:
    """Compile on first use, as a part of other kernels."""
    return _jit(
        function, pipeline_class=PartCompiler, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )


def _jit(function: Callable[..., Any], **options: Any) -> Any:
    frame = inspect.currentframe()
    while frame and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    if frame and (path := Path(frame.f_code.co_filename)).parent == Path(__file__).parent:
        _executed[path] = frame.f_code
    # Python's check of divisors, a branch, would keep LLVM from using vectors
    return njit(error_model="numpy", **options)(function)


def counted(function: Callable[..., int]) -> Callable[..., int]:
    """Compile on first use, as a part of kernels; Python calls the function as it is.

    A kernel that Python called would be compiled in every process: half a second and 60 MB.
    """
    found: Callable[..., int] = register_jitable(error_model="numpy")(function)
    return found


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on first use, kept on disk where a place for that can be written."""
    function.__qualname__ += "bounds" * BOUNDSCHECK  # Numba names its files after it
    dispatcher = _jit(function, nogil=True)
    with suppress(RuntimeError):  # no such place
        dispatcher._cache = _Cache(function)  # as enable_caching does
    return dispatcher


def _are_what_was_imported() -> bool:
    """Return whether the files say what Python executed: it may have read them before a change."""
    return _sources() == SOURCES and all(
        marshal.dumps(compile(path.read_bytes(), path, "exec", dont_inherit=True), 0)
        == marshal.dumps(code, 0)  # without references, which differ from one load to the next
        for path, code in _executed.items()
    )


class _Files(IndexDataCacheFile):  # type: ignore[misc]  # Numba comes without types
    """A file for each signature, written in one step, instead of one index of all."""

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._name_of(key), (key, data))

    def load(self, key: Any) -> Any:
        try:
            kept, data = self._load_data(self._name_of(key))
        except FileNotFoundError:
            return None
        return data if kept == key else None

    def _name_of(self, key: Any) -> Any:
        whole = sha256(repr((self._version, SOURCES, key)).encode()).hexdigest()
        return self._data_name_pattern.format(number=int(whole[:16], 16))


class _Cache(FunctionCache):  # type: ignore[misc]  # Numba comes without types
    """Numba's cache, which a damaged file or a full disk costs time and nothing else."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files(self.cache_path, self._impl.filename_base, None)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled before; None where there is none that can be read."""
        try:
            # Numba's own first builds what compiling takes: half a second and 50 MB
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
        except Exception:  # a file that is cut off gives any of a dozen errors
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, where it can be kept."""
        try:
            if _are_what_was_imported():
                super().save_overload(sig, data)
            else:
                _say_once("The kernels' files changed since they were imported: none is kept.")
        except Exception as error:
            reason = getattr(error, "strerror", None) or str(error)
            _say_once(
                f"{self.cache_path}: cannot keep compiled kernels ({reason}); each run compiles "
                "them anew. Set NUMBA_CACHE_DIR to another directory."
            )


@cache
def _say_once(message: str) -> None:
    logging.getLogger(__name__).warning(one_line(message))
