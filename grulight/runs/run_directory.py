"""The directory of a run: made for one run alone, and written by one process at a time."""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from grulight.errors import InputError
from grulight.files import lock

RUNS = "lightning_logs"
_PATIENCE = 2.0  # seconds for a process that has just been killed to be gone


def make_run_directory(root: str | Path) -> int:
    """Make the directory of a new run, which no other process has; return its number.

    Args:
        root: What holds the directory of all runs.

    Raises:
        InputError: It cannot be made.
    """
    runs = Path(root, RUNS)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        number = 1 + max(map(number_of, runs.glob("version_*")), default=-1)
        while True:
            try:
                directory_of(root, number).mkdir()  # of several processes one succeeds
            except FileExistsError:
                number += 1
            else:
                return number
    except OSError as error:
        raise InputError(
            f"{runs}: cannot be written to ({error.strerror}). Choose another directory."
        ) from error


def directory_of(root: str | Path, number: int) -> Path:
    """Return the directory of a run."""
    return Path(root, RUNS, f"version_{number}")


def number_of(run: Path) -> int:
    """Return the number of a run directory; -1 for another one."""
    number = re.fullmatch(r"version_([0-9]{1,9})", run.name)
    return int(number[1]) if number else -1


@contextmanager
def locked(directory: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Keep all other processes from training in a directory, until this one ends, however it ends.

    Args:
        directory: Of a run, or of all runs.
        warn: Told where the file system has no locks.

    Raises:
        InputError: Another process trains there.
    """
    path = directory / ".lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        taken = _patiently(descriptor)
        if taken is False:
            owner = path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
            raise InputError(
                f"{directory}: {owner} trains here. Wait for it, or choose another "
                f"--trainer.default_root_dir; if it no longer runs, remove {path}."
            )
        if taken is None:
            warn(f"{directory}: the file system has no locks; start no second run here.")
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _patiently(descriptor: int) -> bool | None:
    until = time.monotonic() + _PATIENCE
    while (taken := lock(descriptor)) is False and time.monotonic() < until:
        time.sleep(0.05)
    return taken
