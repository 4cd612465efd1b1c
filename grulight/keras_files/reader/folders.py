"""The files of a model that comes in several: in a folder, or in a zip of one.

Other files name them, so each name is looked at before it is followed: it stays in the folder.
"""

import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from grulight.errors import InputError
from grulight.keras_files.reader.archive import MAX_GROWTH, open_archive, read_member
from grulight.keras_files.reader.untrusted_text import quote

MAX_NAME = 512


class Folder(Protocol):
    """Where the files of a model lie."""

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""

    def size(self, name: str) -> int:
        """Return how many bytes a file has."""

    def read(self, name: str, limit: int) -> bytes:
        """Return what a file holds, which must be at most ``limit`` bytes."""


class Directory:
    """A directory.

    Args:
        root: Its path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name, or a link to one."""
        return (self._root / inner(name)).is_file()

    def size(self, name: str) -> int:
        """Return how many bytes a file has.

        Raises:
            InputError: It is not there, no file, or outside the directory.
        """
        return self._place(name).stat().st_size

    def read(self, name: str, limit: int) -> bytes:
        """Return what a file holds.

        Raises:
            InputError: It is not there, no file, outside the directory, or too large.
        """
        place = self._place(name)
        _require_size(name, place.stat().st_size, limit)
        with place.open("rb") as file:
            return file.read(limit)

    def _place(self, name: str) -> Path:
        place = (self._root / inner(name)).resolve()
        if not place.is_relative_to(self._root.resolve()):
            raise InputError(
                f"{quote(name)} is a link that leads out of the folder. Refused: copy the file "
                "itself there."
            )
        if not place.exists():
            raise InputError(f"{quote(name)} is named and not there. Copy it into the folder.")
        if not stat.S_ISREG(os.stat(place).st_mode):
            raise InputError(f"{quote(name)} is no regular file. Refused.")
        return place


class Zipped:
    """A folder in an open zip.

    Args:
        archive: The zip.
        members: Its members by name.
        top: The folder's path in it, which ends with a slash unless it is empty.
        room: Bytes that all files together may unpack to.
    """

    def __init__(
        self, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], top: str, room: int
    ) -> None:
        self._archive, self._members, self._top, self._room = archive, members, top, room

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return self._top + inner(name) in self._members

    def size(self, name: str) -> int:
        """Return how many bytes a file has.

        Raises:
            InputError: It is not there.
        """
        return self._member(name).file_size

    def read(self, name: str, limit: int) -> bytes:
        """Return what a file holds.

        Raises:
            InputError: It is not there, or too large.
        """
        member = self._member(name)
        _require_size(name, member.file_size, limit)
        content = read_member(self._archive, member, self._room)
        self._room -= len(content)
        return content

    def _member(self, name: str) -> zipfile.ZipInfo:
        found = self._members.get(self._top + inner(name))
        if found is None:
            raise InputError(f"{quote(name)} is named and not in the zip. Zip the whole folder.")
        return found


@contextmanager
def zipped(path: Path, name: str) -> Iterator[Folder | None]:
    """Open the folder in a zip that holds a file of this name; None where there is none.

    Raises:
        InputError: The zip is damaged, or there are several.
    """
    with open_archive(path) as (archive, members):
        tops = [each[: -len(name)] for each in members if f"/{each}".endswith(f"/{name}")]
        tops = [top for top in tops if not top.startswith("__MACOSX/")]  # what macOS adds
        if len(tops) > 1:
            raise InputError(f"the zip holds {name} {len(tops)} times. Zip one model alone.")
        room = path.stat().st_size + MAX_GROWTH
        yield Zipped(archive, members, tops[0], room) if tops else None


def inner(name: str) -> str:
    """Return the name of a file in a folder, without a leading `./`.

    Raises:
        InputError: It is absolute, leads up, or is no name that a model's files have.
    """
    parts = name.removeprefix("./").split("/")
    odd = any(part in ("", ".", "..") or not part.isprintable() for part in parts)
    if odd or len(name) > MAX_NAME or set(name) & {"\\", ":", "\0"}:
        raise InputError(
            f"{quote(name)} is no file inside the folder. Refused: a model's files lie together."
        )
    return "/".join(parts)


def _require_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise InputError(f"{quote(name)} has {size} bytes, expected at most {limit}. Refused.")
