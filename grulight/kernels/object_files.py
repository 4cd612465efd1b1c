"""Kernels' object code as files: where they lie, and which of them fits this process.

Numba's own files can only be read by Numba, which takes half a second and 70 MB to import.
"""

import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from hashlib import sha1, sha256
from importlib.metadata import version
from pathlib import Path
from struct import iter_unpack, unpack_from
from typing import NamedTuple

import numpy as np

from grulight.files import written_whole

_DIGEST = sha256().digest_size
ELF = b"\x7fELF\x02\x01"  # of 64 bits, the least byte first
_SYMBOLS = 2  # the type of an ELF section


def sources(folder: Path) -> str:
    """Return a digest of a folder: kernels are made of several files, and of their constants."""
    files = sorted(folder.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


HERE = Path(__file__).parent
SOURCES = sources(HERE)


class ObjectCode(NamedTuple):
    """A compiled kernel.

    Attributes:
        entry: The symbol that Python calls.
        environment: The symbol of the pointer to Numba's environment, which that one needs.
        code: An ELF object file.
    """

    entry: str
    environment: str
    code: bytes

    def undefined(self) -> list[str]:
        """Return the symbols that others define.

        Raises:
            ValueError: It is no ELF object file of this kind.
        """
        if not self.code.startswith(ELF):
            raise ValueError("no object code for Linux on 64 bits")
        start, size, count = (unpack_from(kind, self.code, at)[0] for kind, at in _SECTIONS)
        found = []
        for n in range(count):
            section = unpack_from("<IIQQQQIIQQ", self.code, start + n * size)
            if section[1] == _SYMBOLS:
                texts = unpack_from("<Q", self.code, start + section[6] * size + 24)[0]
                table = self.code[section[4] : section[4] + section[5]]
                for name, _, _, where, _, _ in iter_unpack("<IBBHQQ", table):
                    if name and not where:
                        end = self.code.index(0, texts + name)
                        found.append(self.code[texts + name : end].decode())
        return found


_SECTIONS = ("<Q", 40), ("<H", 58), ("<H", 60)  # in the header: where they start, size and count


def read(module: str, name: str, kinds: str) -> ObjectCode | None:
    """Return a kernel that was kept, or None where there is none that fits this process.

    Raises:
        OSError: A file cannot be read.
        Exception: llvmlite or Numba cannot be asked, or do not say, what they are.
    """
    file = _name(module, name, kinds)
    for place in _places():
        with_digest = (place / file).read_bytes() if (place / file).is_file() else b""
        digest, content = with_digest[:_DIGEST], with_digest[_DIGEST:]
        if content and _digest(file, content) == digest:
            head, _, code = content.partition(b"\n")
            entry, environment = json.loads(head)
            return ObjectCode(entry, environment, code)
    return None


def write(module: str, name: str, kinds: str, kernel: ObjectCode) -> None:
    """Keep a kernel where it is not kept yet, for processes like this one.

    Raises:
        OSError: It cannot be written anywhere.
    """
    if read(module, name, kinds):
        return
    file = _name(module, name, kinds)
    content = json.dumps(kernel[:2]).encode() + b"\n" + kernel.code
    *before, last = _places()
    for place in (*before, last):
        try:
            place.mkdir(parents=True, exist_ok=True)
            with written_whole(place / file) as temporary:
                temporary.write_bytes(_digest(file, content) + content)
        except OSError:
            if place == last:
                raise
        else:
            return


def _digest(file: str, content: bytes) -> bytes:
    """Return what tells a whole file, of this name, from another."""
    return sha256(file.encode() + content).digest()


def _places() -> Iterator[Path]:
    """Yield where kernels may lie, as Numba looks for its own."""
    digest = sha1(str(HERE).encode(), usedforsecurity=False).hexdigest()
    if told := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(told) / f"{HERE.name}_{digest}"
        return
    yield HERE / "__pycache__"
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield Path(user) / "numba" / f"{HERE.name}_{digest}"


def _name(module: str, name: str, kinds: str) -> str:
    whole = sha256(repr((_conditions(), module, name, kinds)).encode()).hexdigest()
    return f"{module}.{name}-{whole[:32]}.kernel"


@cache
def _conditions() -> tuple[object, ...]:
    """Return all that decides what a kernel is compiled to, beside its arguments' types."""
    from llvmlite import binding

    told = sorted(
        (name, value)
        for name, value in os.environ.items()
        if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"
    )
    settings = Path(".numba_config.yaml")  # which Numba reads as if they were in the environment
    return (
        SOURCES,
        sys.version,
        *(version(package) for package in ("numba", "llvmlite")),
        np.__version__,
        binding.get_process_triple(),
        binding.get_host_cpu_name(),
        binding.get_host_cpu_features().flatten(),
        told,
        settings.read_bytes() if settings.is_file() else b"",
    )
