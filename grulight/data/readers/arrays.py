"""NumPy files: mapped into memory where they are uncompressed, never unpickled."""

import errno
import io
import math
import os
import shutil
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
from grulight.data.readers.memory import require_memory
from grulight.data.readers.names import name_array, require_names
from grulight.errors import InputError

# The fixed part of a zip member's local header (APPNOTE.TXT 4.3.7): 26 bytes, then the lengths of
# the name and of the extra field. These may differ from those in the central directory.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1
_LONGEST_HEADER = 10_000  # bytes of a .npy header, as NumPy bounds what it parses
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
    RuntimeError,  # an encrypted member, or a header of many brackets
    MemoryError,  # likewise
    OverflowError,
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

        def texts(key: str) -> NDArray[np.str_] | None:
            return _texts(path, key, array(key))

        return Raw(
            values=_with_features(_values(path, archive, members["x"], scratch)),
            labels=array("y"),
            lengths=array("lengths"),
            class_names=_list(texts("class_names")),
            feature_names=_list(texts("feature_names")),
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
            return np.asarray(_checked(path, option, _mapped(file, 0, os.path.getsize(file))))

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
        return _checked(path, "the array", _mapped(path, 0, os.path.getsize(path)))


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
            if info.file_size > (free := shutil.disk_usage(scratch).free):
                sizes = f"{info.file_size:,} bytes, and {free:,} are free"
                raise bad(path, f"key 'x' would be unpacked to {sizes} in {scratch}.")
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
    key = f"key {info.filename.removesuffix('.npy')!r}"
    with _named_errors(path, key):
        with archive.open(info) as file:
            shape, _, dtype = _header(file)
            size = _size(shape, dtype, info.file_size - file.tell())
        # values of another type are copied as float32
        copied = math.prod(shape) * 4 if dtype.kind in "biuf" and dtype != np.float32 else 0
        remedy = "Save it uncompressed, to be mapped, or write it with `grulight pack`."
        require_memory(path, key, size + copied, remedy)
        with archive.open(info) as file:
            return _checked(path, key, np.asarray(_npy.read_array(file, allow_pickle=False)))


def _checked(path: str, what: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array whose texts, if it holds some, are texts."""
    if array.dtype.kind == "U":
        require_names(path, what, array)
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = _npy.read_magic(file)
    readers = {
        (1, 0): (_npy.read_array_header_1_0, struct.Struct("<H")),
        (2, 0): (_npy.read_array_header_2_0, struct.Struct("<I")),
    }
    if version not in readers:
        raise ValueError(f"version {version} of the .npy format, expected (1, 0) or (2, 0)")
    reader, number = readers[version]
    prefix = file.read(number.size)
    [length] = number.unpack(prefix)
    if length > _LONGEST_HEADER:  # NumPy would read it first
        raise ValueError(f"a header of {length:,} bytes, expected at most {_LONGEST_HEADER:,}")
    with warnings.catch_warnings():
        # NumPy advises to save files that Python 2 wrote again; they read well.
        warnings.simplefilter("ignore")
        shape, fortran, dtype = reader(io.BytesIO(prefix + file.read(length)))
    if dtype.hasobject:
        raise _NeedsPickle
    return shape, fortran, dtype


def _size(shape: tuple[int, ...], dtype: np.dtype[Any], room: int) -> int:
    """Return the bytes of an array, for which there is so much room in its file.

    Raises:
        ValueError: They are more, or there can be no such array.
    """
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or max(shape, default=0) > _LARGEST_AXIS or size > room:
        raise ValueError(f"{room} bytes, expected {size} for {shape} numbers of {dtype}")
    return size


def _mapped(path: str, start: int, size: int) -> NDArray[Any]:
    """Map the array whose .npy bytes fill ``size`` bytes of a file from ``start`` on."""
    with open(path, "rb") as file:
        file.seek(start)
        shape, fortran, dtype = _header(file)
        offset = file.tell()
    _size(shape, dtype, size - (offset - start))
    if 0 in shape or not dtype.itemsize:
        return np.empty(shape, dtype)  # nothing can be mapped
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _texts(path: str, key: str, array: NDArray[Any] | None) -> NDArray[np.str_] | None:
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
    return name_array(path, f"key {key!r}", array.astype(np.str_, copy=False))


def _list(names: NDArray[np.str_] | None) -> list[str] | None:
    return None if names is None else names.tolist()
