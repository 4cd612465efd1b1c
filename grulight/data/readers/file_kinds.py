"""Whether a file is what its name says, and options are for such a file."""

import os

from grulight.data.readers.checks import bad
from grulight.data.readers.options import ReadOptions
from grulight.data.readers.tables import TABLES
from grulight.data.readers.text_file import COMPRESSED
from grulight.errors import InputError

_KINDS = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"\x93NUMPY": "a NumPy .npy array",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x04": "a pickle",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
}
_TEXT = "text or an unknown format"
_EXPECTED = {
    ".npz": "a zip archive",
    ".npy": "a NumPy .npy array",
    ".csv": _TEXT,
    ".parquet": "a Parquet file",
    ".ts": _TEXT,
    ".tsv": _TEXT,
    ".csv.gz": "a gzip file",
    ".csv.zst": "a Zstandard file",
    ".tsv.gz": "a gzip file",
    ".tsv.zst": "a Zstandard file",
    ".xlsx": "a zip archive",
}


def checked_path(source: str, options: ReadOptions) -> tuple[str, str]:
    """Return the path and the suffix of a file that is what its name says.

    Raises:
        InputError: It is not, or an option has no effect on such a file.
    """
    path = os.path.expanduser(source)
    suffix = _suffix(path)
    check_file(path, suffix)
    check_options(source, suffix, options)
    return path, suffix


def _suffix(path: str) -> str:
    """Return the end of a name that says what a file is: one part, or two if it is compressed."""
    rest, suffix = os.path.splitext(path.lower())
    return os.path.splitext(rest)[1] + suffix if suffix in COMPRESSED else suffix


def check_file(path: str, suffix: str) -> None:
    """Refuse what is not there, no file, or of another kind than its name says.

    Raises:
        InputError: It is so.
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


def check_options(source: str, suffix: str, options: ReadOptions) -> None:
    """Refuse options that would have no effect.

    Raises:
        InputError: There is one.
    """
    arrays = {"labels_file": options.labels_file, "lengths_file": options.lengths_file}
    for name, value in arrays.items():
        if value is not None and suffix != ".npy":
            raise bad(source, f"{name} {value} is only for a .npy source.")
    if suffix in TABLES:
        return
    for name in ("features", "separator", "decimal", "steps"):
        if getattr(options, name) is not None:
            raise bad(source, f"{name} of columns and cells are only for a table, such as a .csv.")
    if options.layout != "long":
        raise bad(source, f"layout {options.layout} is only for a table, such as a .csv.")
