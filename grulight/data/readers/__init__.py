"""Read sequences from the built-in set, a file or an archive."""

import os

from grulight.data.readers.arrays import read_npy, read_npz
from grulight.data.readers.checks import checked
from grulight.data.readers.file_kinds import (
    TABLES,
    check_file,
    check_options,
    checked_path,
    without_columns,
)
from grulight.data.readers.given import Given, given_sequences, named
from grulight.data.readers.lit_data import PREFIX, read_lit
from grulight.data.readers.memory import memory_errors
from grulight.data.readers.messages import bad
from grulight.data.readers.offsets import shifted
from grulight.data.readers.options import ReadOptions, columns_of
from grulight.data.readers.packed import is_packed, read_packed
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.ts import read_aeon, read_ts
from grulight.data.sequences import Sequences

__all__ = [
    "Given",
    "ReadOptions",
    "checked_path",
    "columns_of",
    "has_names",
    "has_test_part",
    "named",
    "read",
    "without_columns",
]

_DEFAULT = ReadOptions()


def read(source: str | Given, options: ReadOptions = _DEFAULT) -> Sequences:
    """Read sequences, checked.

    Args:
        source: ``waves``, ``aeon:NAME``, ``litdata:DIR``, a path ending in .npz, .npy,
            .csv, .tsv, .parquet, .xlsx or .ts, a directory that ``grulight pack`` wrote; or what
            is in memory.
        options: Names of columns and further files.

    Returns:
        The sequences: values (N, T, F), float32 with zeros for padding, or, where an uncompressed
        .npz or .npy allows it, the file's own array mapped read-only into memory; those of a packed
        directory are read when they are indexed.

    Raises:
        InputError: The source is missing, damaged or not what its name says, or its content fails
            a check; the message names file and row or key.
    """
    with memory_errors(str(source)):
        return shifted(_read_any(source, options), options.offset)


def _read_any(source: str | Given, options: ReadOptions) -> Sequences:
    if isinstance(source, str):
        return _read(source, options)
    if isinstance(source.data, Sequences):
        return given_sequences(source, options)
    return _checked(str(source), source.raw(options), options)


def _read(source: str, options: ReadOptions) -> Sequences:
    if options.part == "test" and not has_test_part(source):
        raise bad(source, "has no test part of its own.")
    if source == "waves" or source.startswith((PREFIX, "aeon:")):
        check_options(source, "", options)
    if source == "waves":
        from grulight.data.waves import waves

        return waves()
    if source.startswith(PREFIX):
        return read_lit(source, require_labels=options.require_labels, wish=options.targets)
    path = os.path.expanduser(source)
    if is_packed(path):
        check_options(source, "", options)
        allowed = {"require_labels": options.require_labels, "missing": options.missing}
        return read_packed(path, **allowed, wish=options.targets)
    raw = read_aeon(source, options.part) if source.startswith("aeon:") else _file(source, options)
    return _checked(source, raw, options)


def _checked(source: str, raw: RawSequences, options: ReadOptions) -> Sequences:
    return checked(
        source,
        raw,
        require_labels=options.require_labels,
        wish=options.targets,
        offset=options.offset,
        missing=options.missing,
    )


def has_test_part(source: str | Given) -> bool:
    """Return whether the source brings a test part of its own."""
    return isinstance(source, str) and source.startswith("aeon:")


def has_names(source: str | Given) -> bool:
    """Return whether a source's features have names of their own: whether it is a table."""
    return source.lower().endswith(TABLES) if isinstance(source, str) else source.is_table


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
            # Arrow takes a third of a second and 40 MB to import
            from grulight.data.readers.tables import read_table

            return read_table(path, columns)


def _array_file(option: str | None) -> str | None:
    if option is None:
        return None
    path = os.path.expanduser(option)
    check_file(path, ".npy")
    return path
