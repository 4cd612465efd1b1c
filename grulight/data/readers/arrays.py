"""NumPy files: mapped into memory where they are uncompressed, never unpickled."""

import math
import shutil
import struct
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.memory import require_memory
from grulight.data.readers.messages import bad
from grulight.data.readers.names import name_array, require_names
from grulight.data.readers.npy import array_size, map_array, named_errors, read_header, regular_file
from grulight.data.readers.raw import RawSequences
from grulight.errors import listed

# The fixed part of a zip member's local header (APPNOTE.TXT 4.3.7): 26 bytes, then the lengths of
# the name and of the extra field. These may differ from those in the central directory.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1
_npy: Any = np.lib.format  # documented, but without types


def read_npz(path: str, scratch: str | None = None) -> RawSequences:
    """Read ``x`` and, where present, ``y``, ``lengths`` and names.

    The keys of names are ``class_names``, ``feature_names``, ``ids`` and ``groups`` (N,);
    ``weights`` (N,) are those of the sequences. An uncompressed ``x`` is memory-mapped from inside
    the archive.

    Args:
        path: The archive.
        scratch: Directory where a compressed ``x`` is unpacked, to be mapped from there; without
            one it is read into memory.

    Raises:
        InputError: The archive or a member is damaged, needs pickle, or ``x`` is missing.
    """
    with named_errors(path, "the archive"), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if "x" not in members:
            keys = listed([*members]) or "none"
            raise bad(path, f"has no key 'x' (keys: {keys}), expected x of shape (N, T, F).")

        def array(key: str) -> NDArray[Any] | None:
            return _member(path, archive, members[key]) if key in members else None

        def texts(key: str) -> NDArray[np.str_] | None:
            return _texts(path, key, array(key))

        return RawSequences(
            values=_with_features(_values(path, archive, members["x"], scratch)),
            labels=array("y"),
            lengths=array("lengths"),
            class_names=_list(texts("class_names")),
            feature_names=_list(texts("feature_names")),
            ids=texts("ids"),
            groups=texts("groups"),
            weights=array("weights"),
        )


def read_npy(path: str, labels_file: str | None, lengths_file: str | None) -> RawSequences:
    """Map ``x`` from one file; labels and lengths come from files of their own.

    Raises:
        InputError: A file is missing, damaged or needs pickle.
    """

    def array(option: str, file: str | None) -> NDArray[Any] | None:
        if file is None:
            return None
        with named_errors(path, f"{option} {file}"):
            return np.asarray(_checked(path, option, map_array(file)))

    with named_errors(path, "the array"):
        values = map_array(path)
    return RawSequences(
        values=_with_features(values),
        labels=array("labels_file", labels_file),
        lengths=array("lengths_file", lengths_file),
        names={
            "x": "the array",
            "y": f"labels_file {labels_file}" if labels_file else "a labels_file",
            "lengths": f"lengths_file {lengths_file}",
        },
    )


def _with_features(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (sequences, steps), such as the ids that an Embedding reads, as one feature."""
    return values[:, :, None] if values.ndim == 2 else values


def _values(
    path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, scratch: str | None
) -> NDArray[Any]:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
        if scratch is None:
            return _member(path, archive, info)
        with named_errors(path, "key 'x'"):
            if info.file_size > (free := shutil.disk_usage(scratch).free):
                sizes = f"{info.file_size:,} bytes, and {free:,} are free"
                raise bad(path, f"key 'x' would be unpacked to {sizes} in {scratch}.")
            unpacked = archive.extract(info, scratch)
            return map_array(unpacked, 0, info.file_size)
    with named_errors(path, "key 'x'"):
        return map_array(path, _data_offset(path, info), info.file_size)


def _data_offset(path: str, info: zipfile.ZipInfo) -> int:
    with regular_file(path) as file:
        file.seek(info.header_offset)
        signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("no member where the archive's directory says")
    return int(info.header_offset + _LOCAL_HEADER.size + name + extra)


def _member(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    key = f"key {info.filename.removesuffix('.npy')!r}"
    with named_errors(path, key):
        with archive.open(info) as file:
            shape, _, dtype = read_header(file)
            size = array_size(shape, dtype, info.file_size - file.tell())
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


def _texts(path: str, key: str, array: NDArray[Any] | None) -> NDArray[np.str_] | None:
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind not in "biuUS":
        raise bad(
            path,
            f"key {key!r} holds {array.dtype} of shape {array.shape}, expected one row of names.",
        )
    if array.dtype.kind == "S":
        with named_errors(path, f"key {key!r}"):
            array = np.char.decode(array, "utf-8")
    return name_array(path, f"key {key!r}", array.astype(np.str_, copy=False))


def _list(names: NDArray[np.str_] | None) -> list[str] | None:
    return None if names is None else names.tolist()
