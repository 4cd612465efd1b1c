"""The kernels for CPUs as Python calls them: from their object code where it is kept, else Numba's.

A process that finds its kernels on disk imports neither Numba nor the files that they are made of.
"""

from collections.abc import Callable
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np

from grulight.kernels import object_code, object_files

_SCALARS = {
    kind: np.dtype(kind).name for kind in (bool, int, float, np.int64, np.float32, np.float64)
}
_ALONE = Lock()  # what kernels share is made once


class Kernel:
    """A compiled function, of any types that its arguments have.

    Args:
        module: The file in this folder that it is in.
        name: Its name there.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._found: dict[Any, Callable[..., None]] = {}

    def __call__(self, *arguments: Any) -> None:
        """Call it.

        Raises:
            Exception: Whatever the kernel raises.
        """
        self.like(*arguments)(*arguments)

    def like(self, *arguments: Any) -> Callable[..., None]:
        """Return what takes arguments of the same types, of which it trusts arrays to be plain.

        Looking at them takes longer than a short call.
        """
        kinds = tuple(map(_kind, arguments))
        function = self._found.get(kinds)
        if function is None:
            with _ALONE:
                function = self._found.get(kinds) or self._find(kinds)
                self._found[kinds] = function
        return function

    def _find(self, kinds: tuple[Any, ...]) -> Callable[..., None]:
        """Return what takes arguments of such kinds."""
        if found := self._kept(kinds):
            return found
        module = import_module(f"{__package__}.{self._module}")
        numba: Callable[..., None] = getattr(module, self._name)
        return numba

    def _kept(self, kinds: tuple[Any, ...]) -> Callable[..., None] | None:
        """Return what was kept, or None where that cannot be used here, for whatever reason."""
        try:
            text = ", ".join(map(_in_words, kinds))
            kernel = object_files.read(self._module, self._name, text)
            return kernel and object_code.load(kernel)
        except Exception:  # Numba's own way says what is wrong, if anything is
            return None


def _kind(value: Any) -> Any:
    """Return what decides which code takes a value; it can be hashed."""
    if isinstance(value, np.ndarray):  # or one that lies in a file
        return value.dtype, value.ndim, value.flags.carray
    return tuple(map(_kind, value)) if type(value) is tuple else type(value)


def _in_words(kind: Any) -> str:
    """Return a kind as Numba calls its type.

    Raises:
        LookupError: Kernels are not kept for it.
    """
    if not isinstance(kind, tuple):
        return _SCALARS[kind]
    if len(kind) == 3 and isinstance(kind[0], np.dtype):
        dtype, dimensions, plain = kind
        if not plain or not dtype.isnative:
            raise LookupError("kernels are kept for contiguous arrays that can be written to")
        return f"array({dtype.name}, {dimensions}d, C)"
    return f"({', '.join(map(_in_words, kind))})"


forward = Kernel("numba_cpu", "forward")
backward = Kernel("numba_cpu", "backward")
total = Kernel("numba_cpu", "total")
predict = Kernel("numba_network", "predict")
train = Kernel("numba_training", "train")
