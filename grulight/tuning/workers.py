"""Who works on a study: a file each, by which the others see whether it still runs.

A worker touches its file every few seconds. On the same machine a process that is gone is seen at
once; elsewhere after ``_SILENCE`` seconds without a touch. No locks are needed, which network file
systems may not have.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TOUCH, _SILENCE = 5.0, 60.0  # seconds


@contextmanager
def registered(study: Path) -> Iterator[str]:
    """Register this process as a worker of the study in a directory; yield the worker's name."""
    directory = study / "workers"
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    path = directory / name
    path.write_text(_started(os.getpid()))
    done = threading.Event()
    toucher = threading.Thread(target=_touch, args=(path, done), daemon=True)
    toucher.start()
    try:
        yield name
    finally:
        done.set()
        toucher.join()
        path.unlink(missing_ok=True)


def is_alive(study: Path, name: str) -> bool:
    """Return whether a worker of a study still runs, as far as can be seen from here."""
    path = study / "workers" / name
    try:
        silent = time.time() - path.stat().st_mtime
        started = path.read_text()
    except OSError:
        return False
    host, _, rest = name.rpartition("-")[0].rpartition("-")
    if host == socket.gethostname() and rest.isdigit():
        return _started(int(rest)) == started != ""
    return silent < _SILENCE


def _touch(path: Path, done: threading.Event) -> None:
    while not done.wait(_TOUCH):
        with suppress(OSError):  # a network file system that is away for a moment
            os.utime(path)


def _started(process: int) -> str:
    """Return when a process of this machine started, so that its number taken anew is seen."""
    try:
        # the 22nd field; the second, the name, may hold blanks
        stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        # a process that was killed and not waited for yet does not run
        return "" if stat[0] == "Z" else stat[19]
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "runs"
