"""Zips that hold a model: named members read into memory, nothing extracted."""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import SEEK_END
from typing import IO

from grulight.errors import InputError
from grulight.keras_files.reader.untrusted_text import quote

END_OF_DIRECTORY = b"PK\x05\x06"
END_LENGTH = 22
MAX_DIRECTORY_BYTES = 1 << 20  # some ten thousand members; Keras writes three
MAX_RATIO = 100
# How much larger than the whole file its unpacked weights may be: weights hardly compress.
MAX_GROWTH = 48 << 20


@contextmanager
def open_archive(file: IO[bytes]) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Open a zip to read its members, which have one name each.

    Args:
        file: The zip, open to be read.

    Raises:
        InputError: A member is doubled, or the zip is damaged.
    """
    _check_directory(file)
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive, _members(archive)
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, struct.error) as error:
        raise InputError(f"damaged zip ({error}). Copy or download the file again.") from None
    except (NotImplementedError, RuntimeError, OverflowError) as error:
        raise InputError(f"unreadable zip ({error}). Save the model again with Keras.") from None


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a zip directory that would take far more memory than the file."""
    size = file.seek(0, SEEK_END)
    file.seek(max(0, size - END_LENGTH - 65535))
    tail = file.read()
    start = tail.rfind(END_OF_DIRECTORY)
    if start < 0 or len(tail) - start < END_LENGTH:
        raise InputError("damaged zip (its end is missing). Copy or download the file again.")
    size = max(  # a comment may hold a second end record, so every one of them is looked at
        int.from_bytes(tail[match.end() + 8 : match.end() + 12], "little")
        for match in re.finditer(END_OF_DIRECTORY, tail)
    )
    if size > MAX_DIRECTORY_BYTES or b"PK\x06\x06" in tail:
        raise InputError(
            f"the zip directory claims more than {MAX_DIRECTORY_BYTES} bytes (or zip64 sizes). "
            "Refused: Keras writes three members."
        )


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        if member.filename in members:
            raise InputError(
                f"zip member {quote(member.filename)} appears twice. Refused: readers would "
                "disagree on which one counts."
            )
        members[member.filename] = member
    return members


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Return the bytes of a member, unpacked.

    Raises:
        InputError: It is encrypted, packed unusually, or unpacks to more than ``limit`` bytes or
            to far more than it takes in the file.
    """
    name = member.filename
    if member.flag_bits & 0x1:
        raise InputError(f"zip member {quote(name)} is encrypted. Refused: zip it plainly.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(
            f"zip member {quote(name)} uses compression {member.compress_type}, not deflate."
        )
    if member.file_size > min(limit, MAX_RATIO * max(member.compress_size, 1)):
        raise InputError(
            f"zip member {quote(name)} declares {member.file_size} bytes from "
            f"{member.compress_size}. Refused: it would unpack to far more than the file holds."
        )
    # without a length zipfile would inflate all there is, and cut it to the declared size after
    with archive.open(member) as file:
        return file.read(member.file_size + 1)
