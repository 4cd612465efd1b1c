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

from numba import config, njit, types
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.runtime import rtsys
from numba.extending import register_jitable

from grulight.errors import one_line
from grulight.kernels import object_files, sizes
from grulight.kernels.numba_parts import PartCompiler


def _sources() -> str:
    return object_files.sources(Path(__file__).parent)


SOURCES = _sources()
BOUNDSCHECK = bool(config.BOUNDSCHECK)  # NUMBA_BOUNDSCHECK of the environment

# a kernel file, and what Python made of it
_executed: dict[Path, CodeType] = {Path(sizes.__file__): sizes.CODE}


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
        _keep_object_code(data)

    def load(self, key: Any) -> Any:
        try:
            kept, data = self._load_data(self._name_of(key))
        except FileNotFoundError:
            return None
        if kept != key:
            return None
        with suppress(Exception):  # Numba needs none
            _keep_object_code(data)
        return data

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


def _keep_object_code(data: Any) -> None:
    """Keep what Numba keeps of a kernel so that it can be loaded without Numba, if it can be.

    Raises:
        OSError: It cannot be written.
    """
    (_, kind, stored), function, environment, signature, *_ = data
    package, _, module = function.modname.rpartition(".")
    ours = package == object_files.__package__ and SOURCES == object_files.SOURCES
    elf = kind == "object" and stored[0].startswith(object_files.ELF)
    if ours and elf and signature.return_type == types.none and not environment.consts:
        code = object_files.ObjectCode(
            function.llvm_cpython_wrapper_name, function.env_name, stored[0]
        )
        kinds = ", ".join(map(_in_words, signature.args))
        name = function.qualname.removesuffix("bounds" * BOUNDSCHECK)
        object_files.write(module, name, kinds, code)


def _in_words(kind: Any) -> str:
    """Return a type's name, as ``compiled`` calls it."""
    if isinstance(kind, types.BaseTuple):
        return f"({', '.join(map(_in_words, kind))})"
    return str(kind)


@cache
def _say_once(message: str) -> None:
    logging.getLogger(__name__).warning(one_line(message))
