"""The structure of a checkpoint file, read and checked before torch reads any of it.

``torch.load`` believes the file: a storage is as long as the pickle says, not as the bytes that are
there; a compressed member unpacks to whatever it likes; a ``bytearray`` of any size is made. So the
zip's directory and the pickle, which holds all but the tensors' numbers, are read here first, with
stand-ins in place of tensors.
"""

import struct
import zipfile
from pathlib import Path
from typing import Any

from grulight.checkpoint_files.pickle_opcodes import check_opcodes
from grulight.checkpoint_files.unpickler import StandInUnpickler, Storage, TensorStub
from grulight.checkpoint_files.unreadable import MAX_DEPTH, MAX_REPEATS, Unreadable

_END, _LOCATOR = b"PK\x05\x06", b"PK\x06\x07"


def read_structure(path: Path) -> Any:
    """Return what a checkpoint holds, with stand-ins for tensors, if torch can read it safely.

    Raises:
        Unreadable: It cannot, or holds other things than tensors and plain values.
        OSError: The file cannot be opened.
    """
    try:
        sizes = _stored_members(path)
        [prefix] = {name.split("/")[0] for name in sizes}
        with zipfile.ZipFile(path) as archive:
            data = archive.read(f"{prefix}/data.pkl")
        check_opcodes(data)
        held = StandInUnpickler(data, sizes, prefix).load()
        _check_plain(held, MAX_REPEATS * len(data))
    except (Unreadable, OSError, MemoryError):
        raise
    # damaged zips and pickles meet zipfile and pickle with any exception
    except Exception as error:
        raise Unreadable("truncated, or of another kind") from error
    return held


def _stored_members(path: Path) -> dict[str, int]:
    """Return the bytes of each member of a zip, none of which is compressed."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 98))
        _check_end(file.read(), size)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise Unreadable(f"its member {member.filename[:40]!r} is compressed")
    # torch looks names up in any case
    names = {member.filename.lower() for member in members}
    if len(names) < len(members) or sum(member.file_size for member in members) > size:
        raise Unreadable("members of its zip overlap, or have one name")
    if len({name.split("/")[0] for name in names}) != 1:
        raise Unreadable("truncated, or of another kind")
    return {member.filename: member.file_size for member in members}


def _check_end(tail: bytes, size: int) -> None:
    """Check that a zip ends with its one directory: readers may find others elsewhere."""
    end, stop = tail[-22:], size - 22
    if len(end) < 22 or not end.startswith(_END) or end[20:] != b"\0\0":
        raise Unreadable("truncated, or of another kind")
    length, offset = struct.unpack("<II", end[12:20])
    if tail[-42:].startswith(_LOCATOR):
        stop = size - 98
        length, offset = struct.unpack("<QQ", tail[-58:-42])
        if struct.unpack("<Q", tail[-34:-26]) != (stop,):
            raise Unreadable("its zip has two directories")
    if offset + length != stop:
        raise Unreadable("its zip has two directories")


def _check_plain(held: Any, budget: int) -> None:
    """Check depth, number and kind of all values, counting what is named twice twice."""
    level = [held]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for each in level:
            below += _children(each)
            if len(below) > budget:
                raise Unreadable("it repeats what it holds too often")
        budget -= len(below)
        level = below
        if not level:
            return
    raise Unreadable(f"it is nested deeper than {MAX_DEPTH} levels")


def _children(value: Any) -> list[Any]:
    attributes = getattr(value, "__dict__", {})
    if attributes.keys() - {"_metadata"}:  # of a state_dict, which would hide its methods
        raise Unreadable("its pickle is not one of torch.save")
    if isinstance(value, dict):
        return [*value, *value.values(), *attributes.values()]
    if isinstance(value, (Storage, TensorStub)):
        return []
    return list(value) if isinstance(value, (list, tuple, set)) else []
