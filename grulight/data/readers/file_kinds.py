"""Whether a file is what its name says, and options are for such a file."""

import os
from dataclasses import replace

from grulight.data.readers.messages import bad
from grulight.data.readers.options import ReadOptions
from grulight.errors import InputError, listed
from grulight.files import IS_ADDRESS, is_address

COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_TABLES_OF_TEXT = (".csv", ".tsv")
TABLES = (
    *_TABLES_OF_TEXT,
    *(text + end for text in _TABLES_OF_TEXT for end in COMPRESSED),
    *(".parquet", ".xlsx"),
)
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
_DEFAULT = ReadOptions()
# options that have an effect on some files only, by the suffixes of these
_ONLY_FOR = {
    TABLES: (
        "a table, such as a .csv",
        (
            *("label", "sequence", "time", "group", "weight", "features"),
            *("separator", "decimal", "encoding", "layout", "steps"),
        ),
    ),
    (".npy",): ("a .npy source", ("labels_file", "lengths_file")),
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
    """Refuse what is not here, no file, or of another kind than its name says.

    Raises:
        InputError: It is so.
    """
    if is_address(path):
        raise bad(path, IS_ADDRESS)
    if os.path.isdir(path):
        raise bad(path, "is a directory, expected a file or what `grulight pack` wrote.")
    if suffix not in _EXPECTED:
        raise InputError(
            f"Unknown data source {path!r}: expected waves, aeon:NAME or a path that ends in "
            f"{', '.join(_EXPECTED)}, litdata:DIR or what `grulight pack` wrote. Save another kind "
            "of table as .csv or .parquet."
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
    for suffixes, (words, names) in _ONLY_FOR.items():
        for name in names:
            value = getattr(options, name)
            if value not in (None, getattr(_DEFAULT, name)) and suffix not in suffixes:
                shown = listed(value) if isinstance(value, tuple) else value
                raise bad(source, f"{name} {shown} is only for {words}. Leave it out.")


def without_columns(options: ReadOptions) -> ReadOptions:
    """Return options that name no columns, for a source beside a table that has none."""
    names = (name for name in _ONLY_FOR[TABLES][1] if name != "features")
    return replace(options, **{name: getattr(_DEFAULT, name) for name in names})
