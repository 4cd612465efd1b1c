"""Whether a file is of the kind that its name says."""

import os

from grulight.data.readers.checks import bad
from grulight.errors import InputError

_KINDS = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"\x93NUMPY": "a NumPy .npy array",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x04": "a pickle",
}
_TEXT = "text or an unknown format"
_EXPECTED = {
    ".npz": "a zip archive",
    ".npy": "a NumPy .npy array",
    ".csv": _TEXT,
    ".parquet": "a Parquet file",
    ".ts": _TEXT,
}


def check_file(path: str, suffix: str) -> None:
    """Refuse a file that is not there, or not what its name says.

    Raises:
        InputError: It is not.
    """
    if os.path.isdir(path):
        raise bad(path, "is a directory, expected a file or what `grulight pack` wrote.")
    if suffix not in _EXPECTED:
        raise InputError(
            f"Unknown data source {path!r}: expected waves, aeon:NAME or a path that ends in "
            f"{', '.join(_EXPECTED)}, litdata:DIR or what `grulight pack` wrote."
        )
    try:
        if not os.path.isfile(path):
            raise bad(path, "is not a regular file." if os.path.exists(path) else "no such file.")
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise bad(path, f"cannot be read ({error.strerror}).") from error
    if not start:
        raise bad(path, "is empty.")
    kind = next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), _TEXT)
    if kind != _EXPECTED[suffix]:
        expected = _EXPECTED[suffix].replace(_TEXT, "text")
        raise bad(path, f"is {kind}, but a {suffix} file is {expected}.")
