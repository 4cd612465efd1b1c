"""What a checkpoint file declares, looked at before torch reads any of it.

``torch.load`` believes the file: a storage is as long as the pickle says, not as the bytes that are
there; a compressed member unpacks to whatever it likes; a ``bytearray`` of any size is made. So the
zip's directory and the pickle, which holds all but the tensors' numbers, are read here first, with
stand-ins in place of tensors.
"""

import pickle
import pickletools
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from functools import partial, reduce
from io import BytesIO
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

import torch

MAX_DEPTH = 128  # a Keras description nests to 100; what copies a checkpoint recurses
MAX_AXES = 64  # torch's own limit
_REPEATS = 10  # how often a pickle may name what it holds once, on average
# those that torch.save writes
_STACK = {"MARK", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "PROTO", "STOP"}
_VALUES = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_BOXES = {"EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_FILLS = {"BINUNICODE", "APPEND", "APPENDS", "SETITEM", "SETITEMS"}
_OPCODES = _STACK | _VALUES | _BOXES | _FILLS | {"GLOBAL", "BINPERSID", "REDUCE", "BUILD"}
_ITEM_BYTES = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}
_END, _LOCATOR = b"PK\x05\x06", b"PK\x06\x07"


class Unreadable(Exception):
    """Why a file is no checkpoint, in words."""


class Storage(NamedTuple):
    """Numbers in the file, by how many there are."""

    numel: int


class TensorStub(NamedTuple):
    """A tensor without its numbers."""

    shape: tuple[int, ...]


class _Vouched:
    """Something of a class that the user's program has declared safe to torch."""

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def declared(path: Path) -> Any:
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
        _check_opcodes(data)
        held = _Unpickler(data, sizes, prefix).load()
        _check_plain(held, _REPEATS * len(data))
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


def _check_opcodes(data: bytes) -> None:
    """Check that a pickle is one that torch writes, and that no tuples nest without end.

    C code follows a pickle's instructions: a number in a table of memories makes it as long, and
    a dictionary's key, a tuple in a tuple and so on, is hashed without a limit.
    """
    stack: list[int] = []  # how deep each value's tuples are; -1 for a mark
    memory: dict[int, int] = {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            name = opcode.name
            if name not in _OPCODES or (name.endswith("PUT") and int(argument or 0) > count):
                raise Unreadable("its pickle is not one of torch.save")
            depth = 0
            if name.endswith("PUT"):
                memory[int(argument or 0)] = stack[-1]
                continue
            if name.endswith("GET"):
                depth = memory[int(argument or 0)]
            taken = list(_taken(opcode, stack))
            if name.startswith("TUPLE"):
                depth = 1 + max(taken, default=0)
            if depth > MAX_DEPTH:
                raise Unreadable(f"it is nested deeper than {MAX_DEPTH} levels")
            stack += [-1 if name == "MARK" else depth] * len(opcode.stack_after)
    except (ValueError, IndexError, KeyError) as error:
        raise Unreadable("its pickle is damaged") from error


def _taken(opcode: pickletools.OpcodeInfo, stack: list[int]) -> Iterator[int]:
    """Take what an instruction takes from the stack."""
    fixed = opcode.stack_before
    if pickletools.stackslice in fixed:
        fixed = fixed[: fixed.index(pickletools.markobject)]
        while (depth := stack.pop()) >= 0:
            yield depth
    for _ in fixed:
        yield stack.pop()


class _Unpickler(pickle.Unpickler):
    """Read the pickle of a checkpoint, calling nothing that it names."""

    def __init__(self, data: bytes, sizes: dict[str, int], prefix: str) -> None:
        super().__init__(BytesIO(data))
        self._sizes, self._prefix = sizes, prefix
        self._kinds: dict[str, str] = {}  # of the storages so far
        self._left = _REPEATS * len(data)  # items that may be copied

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of what a pickle names."""
        if module == "torch" and name in _ITEM_BYTES:
            return name
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return f"torch.{name}"
        if (found := _STAND_INS.get(f"{module}.{name}")) is not None:
            return found
        if (kind := _COPIES.get(f"{module}.{name}")) is not None:
            return partial(self._copy, kind)
        if f"{module}.{name}" in _vouched_for():
            return _Vouched
        raise Unreadable(f"it holds a {f'{module}.{name}'[:60]!r}, not tensors and plain values")

    def persistent_load(self, given: Any) -> Storage:
        """Return a storage, whose length must be that of its bytes in the file."""
        kind, storage, key, location, numel = given
        if kind != "storage" or not isinstance(location, str) or type(numel) is not int:
            raise Unreadable("its pickle is damaged")
        if self._kinds.setdefault(key, storage) != storage:
            raise Unreadable("its tensors disagree on what they share")
        if not key.isdigit() or self._sizes.get(f"{self._prefix}/data/{key}") != (
            numel * _ITEM_BYTES[storage]
        ):
            raise Unreadable("the file does not hold as many numbers as a tensor says")
        return Storage(numel)

    def _copy(self, kind: Callable[..., Any], items: Any = (), codec: str = "latin1") -> Any:
        """Make what torch makes of items, which a pickle may name again and again."""
        self._left -= len(items)
        if self._left < 0 or codec != "latin1":
            raise Unreadable("it repeats what it holds too often")
        return kind(items)


def _tensor(
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    hooks: Any,
) -> TensorStub:
    """Check a view of a storage as torch rebuilds one."""
    numbers = (offset, *shape[:MAX_AXES], *stride[:MAX_AXES])
    if (
        not isinstance(storage, Storage)
        or not all(type(each) is int and each >= 0 for each in numbers)
        or not len(shape) == len(stride) <= MAX_AXES
        or type(requires_grad) is not bool
        or hooks
    ):
        raise Unreadable("its pickle is damaged")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    numel = reduce(mul, shape, 1)
    if numel > storage.numel or (numel and last >= storage.numel):
        raise Unreadable("the file does not hold as many numbers as a tensor says")
    return TensorStub(tuple(shape))


_STAND_INS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, requires_grad, hooks: data,
    "torch.device": lambda *names: names,
}
_COPIES: dict[str, Callable[..., Any]] = {
    "torch.Size": tuple,
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "builtins.set": set,
    "__builtin__.set": set,
    "_codecs.encode": lambda text: text.encode("latin1"),
}


def _vouched_for() -> set[str]:
    """Return the names that a user gave to ``torch.serialization.add_safe_globals``."""
    given = torch.serialization.get_safe_globals()
    named = [each[1] if isinstance(each, tuple) else each for each in given]
    return {
        each if isinstance(each, str) else f"{each.__module__}.{each.__qualname__}"
        for each in named
    }


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
