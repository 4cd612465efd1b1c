"""Signals that ask a run to stop: noted at once, acted upon between two batches.

Standard library only: the handler stands before torch is imported, so that a signal that comes
while a job starts does not kill it.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: stopped with everything saved, to be started again

_asked = False


@contextmanager
def noted() -> Iterator[None]:
    """Note SIGUSR1, which schedulers send before the time limit, instead of dying from it."""
    global _asked
    _asked = False
    with _handled("SIGUSR1"):
        yield


@contextmanager
def terminations_noted() -> Iterator[None]:
    """Note SIGTERM, which preemption and shutdown send; only while a run can save itself."""
    with _handled("SIGTERM"):
        yield


def asked() -> bool:
    """Return whether this process was asked to stop."""
    return _asked


def _note(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True


@contextmanager
def _handled(name: str) -> Iterator[None]:
    number = getattr(signal, name, None)
    try:
        before = None if number is None else signal.signal(number, _note)
    except ValueError:  # not in the main thread, where a caller may run us
        number = None
    try:
        yield
    finally:
        if number is not None:
            signal.signal(number, before or signal.SIG_DFL)
