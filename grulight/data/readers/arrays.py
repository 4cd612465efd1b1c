"""NumPy files: mapped into memory where they are uncompressed, never unpickled."""

import errno
import math
import os
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

from grulight.data.readers.checks import Raw, bad
from grulight.errors import InputError

# The fixed part of a zip member's local header (APPNOTE.TXT 4.3.7): 26 bytes, then the lengths of
# the name and of the extra field. These may differ from those in the central directory.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1
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
    struct.error,
    tokenize.TokenError,  # these two: NumPy's second try at a header, as Python 2 wrote it
    SyntaxError,
)


def read_npz(path: str, scratch: str | None = None) -> Raw:
    """Read ``x`` and, where present, ``y``, ``lengths`` and names.

    The keys of names are ``class_names``, ``feature_names`` and ``ids``. An uncompressed ``x`` is
    memory-mapped from inside the archive.

    Args:
        path: The archive.
        scratch: Directory where a compressed ``x`` is unpacked, to be mapped from there; without
            one it is read into memory.

    Raises:
        InputError: The archive or a member is damaged, needs pickle, or ``x`` is missing.
    """
    with _named_errors(path, "the archive"), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if "x" not in members:
            keys = ", ".join(members) or "none"
            raise bad(path, f"has no key 'x' (keys: {keys}), expected x of shape (N, T, F).")

        def array(key: str) -> NDArray[Any] | None:
            return _member(path, archive, members[key]) if key in members else None

        def texts(key: str) -> list[str] | None:
            return _texts(path, key, array(key))

        return Raw(
            values=_with_features(_values(path, archive, members["x"], scratch)),
            labels=array("y"),
            lengths=array("lengths"),
            class_names=texts("class_names"),
            feature_names=texts("feature_names"),
            ids=texts("ids"),
        )


def read_npy(path: str, labels_file: str | None, lengths_file: str | None) -> Raw:
    """Map ``x`` from one file; labels and lengths come from files of their own.

    Raises:
        InputError: A file is missing, damaged or needs pickle.
    """

    def array(option: str, file: str | None) -> NDArray[Any] | None:
        if file is None:
            return None
        with _named_errors(path, f"{option} {file}"):
            return np.array(_mapped(file, 0, os.path.getsize(file)))

    with _named_errors(path, "the array"):
        values = _mapped(path, 0, os.path.getsize(path))
    return Raw(
        values=_with_features(values),
        labels=array("labels_file", labels_file),
        lengths=array("lengths_file", lengths_file),
        names={
            "x": "the array",
            "y": f"labels_file {labels_file}" if labels_file else "a labels_file",
            "lengths": f"lengths_file {lengths_file}",
        },
    )


@contextmanager
def _named_errors(path: str, what: str) -> Iterator[None]:
    """Name the file and the array in whatever goes wrong while it is read."""
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
    return str(error) or type(error).__name__


def mapped(path: str) -> NDArray[Any]:
    """Map the array of a .npy file.

    Raises:
        InputError: The file is missing, damaged or needs pickle.
    """
    with _named_errors(path, "the array"):
        return _mapped(path, 0, os.path.getsize(path))


def _with_features(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (sequences, steps), such as the ids that an Embedding reads, as one feature."""
    return values[:, :, None] if values.ndim == 2 else values


def _values(
    path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, scratch: str | None
) -> NDArray[Any]:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
        if scratch is None:
            return _member(path, archive, info)
        with _named_errors(path, "key 'x'"):
            unpacked = archive.extract(info, scratch)
            return _mapped(unpacked, 0, info.file_size)
    with _named_errors(path, "key 'x'"):
        return _mapped(path, _data_offset(path, info), info.file_size)


def _data_offset(path: str, info: zipfile.ZipInfo) -> int:
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("no member where the archive's directory says")
    return int(info.header_offset + _LOCAL_HEADER.size + name + extra)


def _member(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with _named_errors(path, f"key {info.filename.removesuffix('.npy')!r}"):
        with archive.open(info) as file:
            _header(file)
        with archive.open(info) as file:
            return np.asarray(_npy.read_array(file, allow_pickle=False))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = _npy.read_magic(file)
    readers = {(1, 0): _npy.read_array_header_1_0, (2, 0): _npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the .npy format, expected (1, 0) or (2, 0)")
    with warnings.catch_warnings():
        # NumPy advises to save files that Python 2 wrote again; they read well.
        warnings.simplefilter("ignore")
        shape, fortran, dtype = readers[version](file)
    if dtype.hasobject:
        raise _NeedsPickle
    return shape, fortran, dtype


def _mapped(path: str, start: int, size: int) -> NDArray[Any]:
    """Map the array whose .npy bytes fill ``size`` bytes of a file from ``start`` on."""
    with open(path, "rb") as file:
        file.seek(start)
        shape, fortran, dtype = _header(file)
        offset = file.tell()
    expected = offset - start + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or expected > size:
        raise ValueError(f"{size} bytes, expected {expected} for {shape} numbers of {dtype}")
    if 0 in shape or not dtype.itemsize:
        return np.empty(shape, dtype)  # nothing can be mapped
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _texts(path: str, key: str, array: NDArray[Any] | None) -> list[str] | None:
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind not in "biuUS":
        raise bad(
            path,
            f"key {key!r} holds {array.dtype} of shape {array.shape}, expected one row of names.",
        )
    if array.dtype.kind == "S":
        with _named_errors(path, f"key {key!r}"):
            array = np.char.decode(array, "utf-8")
    return [str(name) for name in array.tolist()]
