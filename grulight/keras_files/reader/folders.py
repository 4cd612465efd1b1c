"""The files of a model that comes in several: in a folder, or in a zip of one.

Other files name them, so each name is looked at before it is followed: it stays in the folder.
"""

import os
import stat
import zipfile
from pathlib import Path
from typing import Protocol

from grulight.errors import InputError
from grulight.keras_files.reader.archive import MAX_GROWTH, read_member
from grulight.keras_files.reader.untrusted_text import quote

MAX_NAME = 512


class Folder(Protocol):
    """Where the files of a model lie."""

    def __contains__(self, name: str) -> bool:
        """Return whether there is a file of this name."""

    def size(self, name: str) -> int:
        """Return how many bytes a file has."""

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return what a file holds, which must be at most ``limit`` bytes, if one is given."""


class Directory:
    """A directory.

    Args:
        root: Its path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __contains__(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return (self._root / name).exists()

    def size(self, name: str) -> int:
        """Return how many bytes a file has.

        Raises:
            InputError: It is not there, no file, or outside the directory.
        """
        return self._place(name).stat().st_size

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return what a file holds.

        Raises:
            InputError: It is not there, no file, outside the directory, or too large.
        """
        place = self._place(name)
        size = place.stat().st_size
        _require_size(name, size, limit)
        with place.open("rb") as file:
            return file.read(size)

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

    def __contains__(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return self._top + name in self._members

    def size(self, name: str) -> int:
        """Return how many bytes a file has.

        Raises:
            InputError: It is not there.
        """
        return self._member(name).file_size

    def read(self, name: str, limit: int | None = None) -> bytes:
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


def zipped_folder(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], names: tuple[str, ...], size: int
) -> Folder | None:
    """Return the folder in a zip that holds a file of one of these names, if there is one.

    Args:
        archive: The zip.
        members: Its members by name.
        names: Names of files; one that lies less deep goes before another.
        size: The bytes of the zip.

    Raises:
        InputError: Several are as deep as each other.
    """
    tops = {
        each[: -len(name)]
        for name in names
        for each in members
        if f"/{each}".endswith(f"/{name}") and not each.startswith("__MACOSX/")  # macOS adds it
    }
    depth = min((top.count("/") for top in tops), default=0)
    first = [top for top in tops if top.count("/") == depth]
    if len(first) > 1:
        raise InputError(f"the zip holds {len(first)} models. Zip one alone.")
    return Zipped(archive, members, first[0], size + MAX_GROWTH) if first else None


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


def _require_size(name: str, size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise InputError(f"{quote(name)} has {size} bytes, expected at most {limit}. Refused.")
