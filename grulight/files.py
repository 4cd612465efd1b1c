"""Files appear whole or not at all."""

import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from grulight.errors import InputError

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # as a path, of its two / one is left
IS_ADDRESS = "is an address, and files of this machine are read. Download it, and name your copy."


def is_address(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the address of something that is not on this machine."""
    return _ADDRESS.match(os.fspath(path)) is not None


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it gets the name ``path`` once all is written.

    The temporary file lies in the same directory, so that the rename is atomic on every POSIX
    file system, and is flushed to disk before, so that a crash cannot leave an empty file. What
    was left by writers of this file that were killed is removed.

    Raises:
        InputError: The path is a directory's, its directory cannot be written to, or torch could
            not write all of a file.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{path}: is a directory, expected the name of a file.")
    made = _missing(target.parent)
    descriptor, temporary = _temporary_file(target.parent, target.stem, target.suffix)
    try:
        remove_left_behind(target.parent, target.stem, target.suffix)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _remove_empty(made)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)  # a full disk does not say whose
        if isinstance(error, RuntimeError) and "inline_container" in str(error):
            raise InputError(  # torch's own writer does not say what the system said
                f"{path}: cannot be written, the disk may be full. Free some space or choose "
                "another directory."
            ) from error
        raise
    finally:
        os.close(descriptor)


def link_whole(source: Path, target: Path) -> None:
    """Let ``target`` name the file ``source`` too, which is whole; a copy where that cannot be."""
    link = source.with_name(f".{target.name}-link")
    link.unlink(missing_ok=True)
    try:
        os.link(source, link)
    except OSError:  # a file system without links
        with written_whole(target) as temporary:
            shutil.copyfile(source, temporary)
    else:
        link.replace(target)
        link.unlink(missing_ok=True)  # where both were the same file already, it is still there


def require_writable(directory: str | os.PathLike[str]) -> None:
    """Check that files can be made in ``directory`` before work is spent on their content.

    Raises:
        InputError: They cannot.
    """
    made = _missing(Path(directory))
    descriptor, probe = _temporary_file(Path(directory), "probe", "")
    os.close(descriptor)
    probe.unlink()
    _remove_empty(made)


def require_apart(output: str | os.PathLike[str], *inputs: object) -> None:
    """Check that what is to be written takes the place of nothing that is read.

    Args:
        output: What is to be written.
        inputs: Paths that are read; others, such as None and names of built-in sets, are none.

    Raises:
        InputError: It is one of them.
    """
    for each in inputs:
        with suppress(OSError, ValueError):
            if isinstance(each, str | os.PathLike) and os.path.samefile(output, each):
                break
    else:
        return
    raise InputError(f"{os.fspath(output)}: is read here, and would be lost. Choose another name.")


def lock(descriptor: int) -> bool | None:
    """Lock an open file, or directory, until it is closed or the process ends, however it ends.

    Returns:
        Whether it is ours; None where the file system has no locks (``flock``), as some network
        file systems have none.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def temporary_prefix(name: str) -> str:
    """Return how names of temporary files begin that become ``name``."""
    # a name may have 255 bytes, of which a letter takes up to four
    return f".{name[:50]}.grulight-"


def remove_left_behind(directory: Path, stem: str, suffix: str = "") -> None:
    """Remove temporary files and directories whose writers were killed: nobody holds them."""
    pattern = glob.escape(temporary_prefix(stem)) + "*" + glob.escape(suffix)
    for path in directory.glob(pattern):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
            try:
                if lock(descriptor) is not True:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            finally:
                os.close(descriptor)


def _temporary_file(directory: Path, stem: str, suffix: str) -> tuple[int, Path]:
    """Make a file, and hold it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor, name = tempfile.mkstemp(suffix, temporary_prefix(stem), directory)
            lock(descriptor)
            if os.path.exists(name):  # before it was held, it could be taken for one left behind
                return descriptor, Path(name)
            os.close(descriptor)
    except OSError as error:
        raise InputError(
            f"{directory}: cannot be written to ({error.strerror}). Choose another directory."
        ) from error


def _missing(directory: Path) -> list[Path]:
    """Return what of a path is not there, the longest first."""
    target = directory.absolute()
    try:
        return [path for path in (target, *target.parents) if not path.exists()]
    except OSError:  # it cannot be entered, or is too long
        return []


def _remove_empty(made: list[Path]) -> None:
    for path in made:
        with suppress(OSError):
            path.rmdir()


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    # the mask can only be read by setting it
    mask = os.umask(0)
    os.umask(mask)
    return mask
