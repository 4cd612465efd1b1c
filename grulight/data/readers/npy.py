"""The .npy format: mapped into memory, never unpickled; what is read of it is bounded before."""

import errno
import io
import math
import os
import stat
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.messages import bad
from grulight.errors import InputError

# The fixed part of a .npy file's header, by version: the bytes that say how long the rest is.
_COUNTS = {(1, 0): struct.Struct("<H"), (2, 0): struct.Struct("<I")}
_LONGEST_HEADER = 10_000  # NumPy reads no longer ones either, but loads them first
_LARGEST_AXIS = np.iinfo(np.intp).max
_npy: Any = np.lib.format  # documented, but without types
_UNREADABLE = (
    ValueError,
    TypeError,
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,  # a compression method that Python lacks
    RuntimeError,  # an encrypted member
    MemoryError,  # a damaged header that promises a huge array
    OverflowError,
    struct.error,
    tokenize.TokenError,  # these two: NumPy's second try at a header, as Python 2 wrote it
    SyntaxError,
)


@contextmanager
def named_errors(path: str, what: str) -> Iterator[None]:
    """Name the file and the array in whatever goes wrong while it is read.

    Raises:
        InputError: Something went wrong with it.
    """
    try:
        yield
    except _NeedsPickle as error:
        raise bad(
            path,
            f"{what} holds Python objects, which only pickle could read and that may run code. "
            "Save it as numbers or fixed-width strings.",
        ) from error
    except InputError:
        raise
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise  # unpacking filled the disk: nothing is wrong with the file
        raise bad(path, f"{what} is damaged or cut short ({_reason(error)}).") from error


class _NeedsPickle(Exception):
    """The array's dtype holds objects."""


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:200] or type(error).__name__


def mapped(path: str) -> NDArray[Any]:
    """Map the array of a .npy file.

    Raises:
        InputError: The file is missing, damaged, no regular file, or needs pickle.
    """
    with named_errors(path, "the array"):
        return map_array(path)


def regular_file(path: str) -> IO[bytes]:
    """Open a file to read; not a FIFO, which would wait for a writer, nor a device.

    Raises:
        InputError: It is not a regular file.
        OSError: It cannot be opened.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  # for the caller to close
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise bad(path, "is not a regular file.")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether in Fortran order, and type of an array, up to its first number.

    To be called within ``named_errors``, as ``any_header``.
    """
    shape, fortran, dtype = any_header(file)
    if dtype.hasobject:
        raise _NeedsPickle
    return shape, fortran, dtype


def any_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the same of an array that may hold Python objects."""
    version = _npy.read_magic(file)
    if version not in _COUNTS:
        raise ValueError(f"version {version} of the .npy format, expected (1, 0) or (2, 0)")
    count = _COUNTS[version]
    start = file.read(count.size)
    [length] = count.unpack(start)
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes, expected at most {_LONGEST_HEADER:,}")
    readers = {(1, 0): _npy.read_array_header_1_0, (2, 0): _npy.read_array_header_2_0}
    header = io.BytesIO(start + file.read(length))
    with warnings.catch_warnings():
        # NumPy advises to save files that Python 2 wrote again; they read well.
        warnings.simplefilter("ignore")
        found: tuple[tuple[int, ...], bool, np.dtype[Any]] = readers[version](header)
    return found


def array_size(shape: tuple[int, ...], dtype: np.dtype[Any], room: int) -> int:
    """Return the bytes of an array, for which there is so much room in its file.

    Raises:
        ValueError: They are more, or there can be no such array.
    """
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or max(shape, default=0) > _LARGEST_AXIS or size > room:
        raise ValueError(f"{room} bytes, expected {size} for {shape} numbers of {dtype}")
    return size


def map_array(path: str, start: int = 0, size: int | None = None) -> NDArray[Any]:
    """Map the array whose .npy bytes fill ``size`` bytes of a file, or all, from ``start`` on.

    To be called within ``named_errors``.
    """
    with regular_file(path) as file:
        whole = os.fstat(file.fileno()).st_size - start
        size = whole if size is None else min(size, whole)
        file.seek(start)
        shape, fortran, dtype = read_header(file)
        offset = file.tell()
        array_size(shape, dtype, size - (offset - start))
        if 0 in shape:
            return np.empty(shape, dtype)  # nothing can be mapped
        if not dtype.itemsize:
            raise ValueError(f"{shape} items of {dtype}, of no bytes each")
        return np.memmap(file, dtype, "r", offset, shape, "F" if fortran else "C")
