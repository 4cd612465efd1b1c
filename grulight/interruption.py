"""Signals that ask a run to stop: noted at once, acted upon between two batches.

Standard library only: the handlers stand before torch is imported, so that a signal that comes
while a job starts does not kill it.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from grulight.launch import is_one_of_many

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: stopped with everything saved, to be started again
_TERMINATED = 143  # 128 + SIGTERM, as shells have it

_asked = _interrupted = False


@contextmanager
def noted(*, goes_on: bool = False, ends_here: bool = False) -> Iterator[None]:
    """Take over the signals that ask a command to stop.

    SIGUSR1, which schedulers send before the time limit, is noted. Ctrl-C is noted too, and raises
    KeyboardInterrupt as always. SIGTERM raises SystemExit, so that nothing half written is left;
    of several processes each would have to agree, and torchrun would wait for one that does not
    die: they leave it alone until they train.

    Args:
        goes_on: Whether ``--ckpt_path auto`` goes on with the command, which SIGTERM then ends
            with exit code 75.
        ends_here: Whether the process ends with the command: a SIGUSR1 that comes then has nothing
            left to ask for.
    """
    global _asked, _interrupted
    _asked = _interrupted = False

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(EXIT_CODE if goes_on else _TERMINATED)

    after = signal.SIG_IGN if ends_here else None
    with ExitStack() as stack:
        stack.enter_context(_handled("SIGUSR1", _note, after))
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may ignore it
            stack.enter_context(_handled("SIGINT", _interrupt))
        if not is_one_of_many():
            stack.enter_context(_handled("SIGTERM", leave))
        yield


@contextmanager
def terminations_noted() -> Iterator[None]:
    """Note SIGTERM, which preemption and shutdown send; only while a run can save itself."""
    with _handled("SIGTERM", _note):
        yield


def asked() -> bool:
    """Return whether this process was asked to stop."""
    return _asked


def interrupted() -> bool:
    """Return whether somebody pressed Ctrl-C."""
    return _interrupted


def _note(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


@contextmanager
def _handled(name: str, handler: Any, after: Any = None) -> Iterator[None]:
    number = getattr(signal, name, None)
    try:
        before = None if number is None else signal.signal(number, handler)
    except ValueError:  # not in the main thread, where a caller may run us
        number = None
    try:
        yield
    finally:
        if number is not None:
            signal.signal(number, after or before or signal.SIG_DFL)
