"""The pickle of a checkpoint, read with stand-ins for tensors; nothing that it names is called."""

import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial, reduce
from io import BytesIO
from operator import mul
from typing import Any, NamedTuple

from grulight.checkpoint_files.unreadable import MAX_REPEATS, Unreadable

MAX_AXES = 64  # torch's own limit
_DTYPES = {
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "BoolStorage": "bool",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "ShortStorage": "int16",
    "FloatStorage": "float32",
    "IntStorage": "int32",
    "DoubleStorage": "float64",
    "LongStorage": "int64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_ITEM_BYTES = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}


class Storage(NamedTuple):
    """Numbers in the file, by how many there are.

    Attributes:
        numel: How many.
        dtype: Of what type.
        key: Their member of the zip, below ``data/``.
    """

    numel: int
    dtype: str
    key: str


class TensorStub(NamedTuple):
    """A tensor without its numbers, which lie in a storage."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: Storage
    requires_grad: bool

    @property
    def dtype(self) -> str:
        """As torch writes it."""
        return f"torch.{self.storage.dtype}"


class _DeclaredSafe:
    """Something of a class that the user's program has declared safe to torch."""

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class StandInUnpickler(pickle.Unpickler):
    """Read the pickle of a checkpoint, calling nothing that it names."""

    def __init__(self, data: bytes, sizes: dict[str, int], prefix: str) -> None:
        super().__init__(BytesIO(data))
        self._sizes, self._prefix = sizes, prefix
        self._kinds: dict[str, str] = {}  # of the storages so far
        self._left = MAX_REPEATS * len(data)  # items that may be copied

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of what a pickle names."""
        if module == "torch" and name in _ITEM_BYTES:
            return name
        if (found := _STAND_INS.get(f"{module}.{name}")) is not None:
            return found
        if (kind := _COPIES.get(f"{module}.{name}")) is not None:
            return partial(self._copy, kind)
        if module == "torch" and _is_dtype(name):
            return f"torch.{name}"
        if f"{module}.{name}" in _declared_safe():
            return _DeclaredSafe
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
        return Storage(numel, _DTYPES[storage], key)

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
    return TensorStub(tuple(shape), tuple(stride), offset, storage, requires_grad)


_STAND_INS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, requires_grad, hooks: data._replace(
        requires_grad=requires_grad
    ),
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


def _is_dtype(name: str) -> bool:
    import torch

    return isinstance(getattr(torch, name, None), torch.dtype)


def _declared_safe() -> set[str]:
    """Return the names that a user gave to ``torch.serialization.add_safe_globals``."""
    import torch

    given = torch.serialization.get_safe_globals()
    named = [each[1] if isinstance(each, tuple) else each for each in given]
    return {
        each if isinstance(each, str) else f"{each.__module__}.{each.__qualname__}"
        for each in named
    }
