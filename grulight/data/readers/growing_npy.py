"""A .npy file that grows while it is written."""

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 20  # entries that are rewritten at once
_HEADER = 128  # bytes of a .npy header, whatever the shape: it is written last


class GrowingNpy:
    """A .npy file that grows along its first axis.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.shape: tuple[int, ...] = ()  # of an entry
        self.dtype: np.dtype[Any] | None = None
        self._file = path.open("wb")
        self._file.seek(_HEADER)

    def append(self, entries: NDArray[Any]) -> None:
        """Add entries; texts may be longer than those before."""
        if self.dtype is None:
            self.dtype, self.shape = entries.dtype, entries.shape[1:]
        if entries.dtype.itemsize > self.dtype.itemsize:
            self._widen(entries.dtype)
        self._file.write(entries.astype(self.dtype, order="C", copy=False).tobytes())
        self.count += len(entries)

    def close(self) -> None:
        """Write the header and flush all to disk."""
        shape = (self.count, *self.shape)
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}  # type: ignore[union-attr]
        text = repr(header).encode().ljust(_HEADER - 11) + b"\n"
        self._file.seek(0)
        self._file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        """Close the file as it is; what cannot be written any more is lost."""
        with suppress(OSError):
            self._file.close()

    def _widen(self, dtype: np.dtype[Any]) -> None:
        self.close()
        old = np.load(self.path, mmap_mode="r")
        self.path.unlink()  # the mapping keeps its content
        wider = GrowingNpy(self.path)
        for start in range(0, len(old), _CHUNK):
            wider.append(old[start : start + _CHUNK].astype(dtype))
        self._file, self.dtype = wider._file, dtype
