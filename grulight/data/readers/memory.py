"""How much memory is left, asked before a source takes it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from grulight.errors import InputError

_ALWAYS_FREE = 1 << 20  # bytes; to ask takes longer than to take them
_SHARE = 0.5  # of what is free: the rest is for what is computed on the way, and for training
# By the controllers that /proc/self/cgroup names: the directory of version 2 or 1, the files of the
# limit and of what is taken, and how the page cache, which the kernel gives back, is listed.
_GROUPS = {
    "": ("/sys/fs/cgroup", "memory.max", "memory.current", ""),
    "memory": (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_",
    ),
}


def free_memory() -> int:
    """Return the bytes that are free on the machine, or in a container or job with a limit."""
    return max(0, min(_free_on_machine(), *_free_in_groups(), sys.maxsize))


def require_memory(source: str, what: str, size: int, remedy: str) -> None:
    """Refuse what would not fit into memory, before it is taken.

    Args:
        source: Where it comes from.
        what: What it is, such as "x".
        size: Bytes.
        remedy: What to do instead.

    Raises:
        InputError: It is more than is free.
    """
    if size <= _ALWAYS_FREE:
        return
    free = free_memory()
    if size > _SHARE * free:
        raise InputError(
            f"{source}: {what} would take {size / 1e9:,.1f} GB of memory; expected at most half of "
            f"the {free / 1e9:,.1f} GB that are free. {remedy}"
        )


@contextmanager
def memory_errors(source: str) -> Iterator[None]:
    """Name the source where memory was not enough all the same.

    Raises:
        InputError: It was not.
    """
    try:
        yield
    except MemoryError as error:
        said = str(error) or "out of memory"
        raise InputError(
            f"{source}: needs more memory than there is ({said}). Use less of it, or write it with "
            "`grulight pack`."
        ) from error


def _free_on_machine() -> int:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(available.split()[1]) * 1024
    if hasattr(os, "sysconf"):  # not Linux: all that is built in
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return sys.maxsize


def _free_in_groups() -> Iterator[int]:
    """Yield what each limit that holds for this process leaves."""
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers not in _GROUPS:
            continue
        root, limit, taken, prefix = _GROUPS[controllers]
        inner = Path(root + group)
        for folder in (inner, *inner.parents):
            with suppress(OSError, ValueError, KeyError):  # no limit here, or "max"
                rows = (folder / "memory.stat").read_text().splitlines()
                listed = dict(row.split(" ", 1) for row in rows)
                cached = sum(int(listed[f"{prefix}{age}active_file"]) for age in ("", "in"))
                most, now = ((folder / name).read_text() for name in (limit, taken))
                yield int(most) - int(now) + cached
