"""How a command ends: an exit code, and one line for whatever stopped it. No traceback."""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress

from grulight import interruption
from grulight.errors import InputError, one_line

BUG = 1
BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_TRY = {
    errno.ENOSPC: "Free some space or choose another directory.",
    errno.EDQUOT: "Free some space or choose another directory.",
    errno.EACCES: "Change its permissions or choose another path.",
    errno.EPERM: "Change its permissions or choose another path.",
    errno.EROFS: "Choose another directory.",
    errno.ENAMETOOLONG: "Choose a shorter path.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
}


def exit_code_of(name: str, work: Callable[[], None]) -> int:
    """Run a command; return its exit code, after one line on stderr where it failed.

    Args:
        name: The command, such as ``grulight fit``.
        work: What it does.

    Raises:
        SystemExit: As the command does, such as with 75 after it has saved.
    """
    try:
        work()
        sys.stdout.flush()  # here, where an error can still be told
    except SystemExit as stop:
        # Lightning's answer to Ctrl-C is an exit code of its own
        by_hand = isinstance(stop.__context__, KeyboardInterrupt) or interruption.interrupted()
        if not by_hand:
            raise
        return _told(name, "interrupted", INTERRUPTED)
    except KeyboardInterrupt:
        return _told(name, "interrupted", INTERRUPTED)
    except Exception as error:
        if interruption.interrupted():  # during an import it may come out as anything
            return _told(name, "interrupted", INTERRUPTED)
        line = explained(error)
        if line is None:
            return _told(name, _reported(error), BUG)
        return _told(name, line, BAD_INPUT)
    finally:
        _let_go_of_broken_output()
    return 0


def explained(error: Exception) -> str | None:
    """Return what a user can do about an error, or None where it is a mistake of ours."""
    if isinstance(error, InputError):
        return str(error)
    if _is_lack_of_memory(error):
        return (
            f"there is not enough memory ({error or 'MemoryError'}). Try a smaller "
            "--data.batch_size, a smaller model, or data that `grulight pack` wrote."
        )
    if isinstance(error, BrokenPipeError):
        return "what reads this output has gone; what was printed after that is lost."
    if isinstance(error, UnicodeEncodeError):
        text = error.object[error.start : error.end]
        return f"{text!a} cannot be written as {error.encoding}. Rename it."
    if isinstance(error, OSError) and error.errno is not None:
        names = [os.fsdecode(each) for each in (error.filename,) if isinstance(each, str | bytes)]
        where = names[0] if names else "a file could not be read or written"
        return f"{where}: {error.strerror}. {_TRY.get(error.errno, 'Choose another path.')}"
    return None


def _is_lack_of_memory(error: Exception) -> bool:
    # torch has an exception of its own for CUDA and none for a CPU
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _reported(error: Exception) -> str:
    """Write the traceback to a file; return a line that says where it is."""
    text = "".join(traceback.format_exception(error))
    what = f"{type(error).__name__}: {error}"
    try:
        descriptor, path = tempfile.mkstemp(".txt", "grulight-traceback-")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        with suppress(OSError):
            print(text, file=sys.stderr)
        return f"an error of grulight's own: {one_line(what, 300)}"
    return f"an error of grulight's own, please report {path}: {one_line(what, 300)}"


def _told(name: str, line: str, code: int) -> int:
    with suppress(OSError):
        print(f"{name}: {one_line(line)}", file=sys.stderr, flush=True)
    return code


def _let_go_of_broken_output() -> None:
    """Keep Python from ending with an error of its own where stdout cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
