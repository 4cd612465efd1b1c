"""Read sequences from the built-in set, a file or an archive."""

import os
from dataclasses import dataclass, field, replace
from typing import Literal

from grulight.data.readers.arrays import read_npy, read_npz
from grulight.data.readers.checks import bad, checked
from grulight.data.readers.file_kinds import check_file
from grulight.data.readers.lit_data import PREFIX, read_lit
from grulight.data.readers.memory import memory_errors
from grulight.data.readers.offsets import Offset, shifted
from grulight.data.readers.packed import is_packed, read_packed
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.table_columns import ColumnNames
from grulight.data.readers.tables import TABLES, read_table
from grulight.data.readers.targets import Wish
from grulight.data.readers.ts import read_aeon, read_ts
from grulight.data.sequences import Sequences
from grulight.errors import listed

__all__ = ["ReadOptions", "checked_path", "columns_of", "has_test_part", "read", "without_columns"]


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        part: Which part of a source that brings its own test part.
        label: Column of a table with the labels; None if it has none.
        sequence: Column of a table that says which sequence a row belongs to.
        time: Column of a table that orders the rows of a sequence, where there is one.
        features: ColumnNames of a table that are features; by default all others.
        labels_file: Labels (.npy) of a ``.npy`` source.
        lengths_file: Sequence lengths (.npy) of a ``.npy`` source.
        require_labels: Whether a source without labels is an error.
        targets: Whether labels are classes or values, for sequences or for steps.
        offset: What to subtract from each feature before it is rounded to float32.
        scratch: Directory for what a compressed .npz has to be unpacked to, if it is not to be
            read into memory.
    """

    part: Literal["train", "test"] = "train"
    label: str | None = "label"
    sequence: str = "sequence"
    time: str = "time"
    features: tuple[str, ...] | None = None
    labels_file: str | None = None
    lengths_file: str | None = None
    require_labels: bool = True
    targets: Wish = field(default_factory=Wish)
    offset: Offset | None = None
    scratch: str | None = None


_DEFAULT = ReadOptions()
# options that have an effect on some files only, by the suffixes of these
_ONLY_FOR = {
    TABLES: ("a .csv or .parquet table", ("label", "sequence", "time", "features")),
    (".npy",): ("a .npy source", ("labels_file", "lengths_file")),
}


def read(source: str, options: ReadOptions = _DEFAULT) -> Sequences:
    """Read sequences, checked.

    Args:
        source: ``waves``, ``aeon:NAME``, ``litdata:DIR``, a path ending in .npz, .npy,
            .csv, .parquet or .ts, or a directory that ``grulight pack`` wrote.
        options: Names of columns and further files.

    Returns:
        The sequences: values (N, T, F), float32 with zeros for padding, or, where an uncompressed
        .npz or .npy allows it, the file's own array mapped read-only into memory; those of a packed
        directory are read when they are indexed.

    Raises:
        InputError: The source is missing, damaged or not what its name says, or its content fails
            a check; the message names file and row or key.
    """
    with memory_errors(source):
        return shifted(_read(source, options), options.offset)


def _read(source: str, options: ReadOptions) -> Sequences:
    if options.part == "test" and not has_test_part(source):
        raise bad(source, "has no test part of its own.")
    if source == "waves" or source.startswith((PREFIX, "aeon:")):
        _check_options(source, "", options)
    if source == "waves":
        from grulight.data.waves import waves

        return waves()
    if source.startswith(PREFIX):
        return read_lit(source, require_labels=options.require_labels, wish=options.targets)
    path = os.path.expanduser(source)
    if is_packed(path):
        _check_options(source, "", options)
        return read_packed(path, require_labels=options.require_labels, wish=options.targets)
    raw = read_aeon(source, options.part) if source.startswith("aeon:") else _file(source, options)
    wish, required = options.targets, options.require_labels
    return checked(source, raw, require_labels=required, wish=wish, offset=options.offset)


def has_test_part(source: str) -> bool:
    """Return whether the source brings a test part of its own."""
    return source.startswith("aeon:")


def checked_path(source: str, options: ReadOptions) -> tuple[str, str]:
    """Return the path and the suffix of a file that is what its name says.

    Raises:
        InputError: It is not, or an option has no effect on such a file.
    """
    path = os.path.expanduser(source)
    suffix = os.path.splitext(path)[1].lower()
    check_file(path, suffix)
    _check_options(source, suffix, options)
    return path, suffix


def columns_of(options: ReadOptions) -> ColumnNames:
    """Return what the columns of a table are called."""
    return ColumnNames(
        options.sequence,
        options.time,
        options.label,
        options.features,
        require_labels=options.require_labels,
        targets=options.targets,
        offset=options.offset,
    )


def _file(source: str, options: ReadOptions) -> RawSequences:
    path, suffix = checked_path(source, options)
    columns = columns_of(options)
    match suffix:
        case ".npz":
            return read_npz(path, options.scratch)
        case ".npy":
            return read_npy(path, *map(_array_file, (options.labels_file, options.lengths_file)))
        case ".ts":
            return read_ts(path)
        case _:
            return read_table(path, columns)


def _array_file(option: str | None) -> str | None:
    if option is None:
        return None
    path = os.path.expanduser(option)
    check_file(path, ".npy")
    return path


def _check_options(source: str, suffix: str, options: ReadOptions) -> None:
    """Refuse options that would have no effect."""
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
