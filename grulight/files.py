"""Files appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grulight.errors import InputError


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it gets the name ``path`` once all is written.

    The temporary file lies in the same directory, so that the rename is atomic on every POSIX
    file system, and is flushed to disk before, so that a crash cannot leave an empty file.

    Raises:
        InputError: The directory cannot be written to.
    """
    target = Path(path)
    temporary = _temporary_file(target.parent, target.stem, target.suffix)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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
    target = Path(directory).absolute()
    made = [path for path in (target, *target.parents) if not path.exists()]
    _temporary_file(Path(directory), "probe", "").unlink()
    for path in made:
        path.rmdir()


def _temporary_file(directory: Path, stem: str, suffix: str) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(suffix, f".{stem}-", directory)
    except OSError as error:
        raise InputError(
            f"{directory}: cannot be written to ({error.strerror}). Choose another directory."
        ) from error
    os.close(descriptor)
    return Path(name)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    # the mask can only be read by setting it
    mask = os.umask(0)
    os.umask(mask)
    return mask
