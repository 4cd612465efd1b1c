"""What a packed directory holds, described once, and the checks that it does.

A directory holds ``index.json`` and, all of them plain NumPy files in the machine's byte order:

- ``values-00000.npy``, ...: (S, F) float32, finite or, where the index says that values are
  missing, NaN, the steps of whole sequences one after the
  other;
- ``lengths.npy`` and ``starts.npy``: (N,) int64, the steps of each sequence, at least one, and the
  row of its shard that it starts at, so that it ends within the shard;
- ``labels.npy``: where the source has labels, (N,) or (N, S) int64 classes, positions in the
  index's ``class_names``, or (N, K) or (N, S, K) finite float32 values, zero in the padding; S is
  the steps of the longest sequence, padding included where the source is an array, or those of
  answers with steps of their own;
- ``ids.npy``: (N,) texts, what the source calls its sequences.

All but the values are looked through when a directory is opened; the values, which may be larger
than memory, when they are read.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.messages import bad
from grulight.data.readers.names import require_names
from grulight.data.readers.npy import mapped
from grulight.data.readers.packed_index import AGAIN, INDEX, Index

_CHUNK = 1 << 20  # numbers looked at at once
# What is padded takes memory that no file holds: so many times the longest sequence, or so many
# numbers a sequence, is more than any source has.
_MOST_PADDING, _FEW = 64, 1 << 20


def column(
    path: str, name: str, kind: str, shape: tuple[int, ...], axes: tuple[int, ...] = ()
) -> NDArray[Any]:
    """Map a file of such numbers, or texts.

    Args:
        path: The directory.
        name: Of the file, without its suffix.
        kind: NumPy's name of the type, in the machine's byte order.
        shape: Its shape, or the first axes of it.
        axes: How many axes it may have, if not those of ``shape`` alone.

    Raises:
        InputError: It is missing, damaged or something else.
    """
    file = _file(path, name)
    if not os.path.exists(file):
        raise bad(file, f"is missing. Copy it as well, or {AGAIN.lower()}")
    array = np.asarray(mapped(file))  # indexing np.memmap takes longer
    fits = array.dtype.kind == "U" and array.dtype.isnative if kind == "U" else array.dtype == kind
    known = array.ndim in (axes or (len(shape),)) and array.size > 0
    if not known or array.shape[: len(shape)] != shape or not fits:
        expected = "texts" if kind == "U" else kind
        more = f" with {axes[0]} or {axes[1]} axes" if axes else ""
        raise bad(
            file,
            f"holds {str(array.dtype)[:40]} of shape {str(array.shape)[:60]}, expected {expected} "
            f"of shape {shape}{more} as {INDEX} says. {AGAIN}",
        )
    return array


def require_places(
    path: str, index: Index, lengths: NDArray[np.int64], starts: NDArray[np.int64]
) -> None:
    """Check that every sequence has a step and lies within its shard.

    Raises:
        InputError: One does not, or the index promises padding that no source has.
    """

    def has_steps(part: slice) -> NDArray[np.bool_]:
        return (lengths[part] >= 1) & (lengths[part] <= index.steps)

    firsts, steps = np.cumsum([shard.sequences for shard in index.shards]), index.shards

    def inside(part: slice) -> NDArray[np.bool_]:
        at = np.searchsorted(firsts, np.arange(part.start, part.start + len(starts[part])), "right")
        room = np.array([shard.steps for shard in steps])[at]
        return (starts[part] >= 0) & (starts[part] <= room - lengths[part])

    _require(_file(path, "lengths"), lengths, has_steps, f"1 to {index.steps} steps")
    _require(_file(path, "starts"), starts, inside, "a row at which it ends within its shard")
    longest, width = int(lengths.max()), len(index.feature_names)
    most = max(_MOST_PADDING * longest, _FEW // width)
    if index.steps > most:
        raise bad(
            os.path.join(path, INDEX),
            f"pads sequences of up to {longest} steps to {index.steps}, expected at most {most} "
            f"'steps'. {AGAIN}",
        )


def read_labels(path: str, index: Index, *, hold: bool = False) -> NDArray[Any]:
    """Map the labels and check each of them.

    Args:
        path: The directory.
        index: What it says.
        hold: Whether values have to be labels that hold (1) or do not (0).

    Raises:
        InputError: One is neither a class of the index nor such a number, or of other axes.
    """
    count, known = (index.sequences,), len(index.class_names)
    kind, axes = ("int64", (1, 2)) if known else ("float32", (2, 3))
    labels = column(path, "labels", kind, count, axes)

    def right(part: slice) -> NDArray[np.bool_]:
        some = labels[part]
        if known:
            return (some >= 0) & (some < known)
        return np.asarray((some == 0) | (some == 1)) if hold else np.isfinite(some)

    expected = "1 where a label holds and 0 where not" if hold else "a finite number"
    expected = f"one of {known} classes, counted from 0" if known else expected
    _require(_file(path, "labels"), labels, right, expected)
    return labels


def read_ids(path: str, index: Index) -> NDArray[np.str_]:
    """Map the names of the sequences and check that they are texts.

    Raises:
        InputError: One is too long or has a character that does not exist.
    """
    ids = column(path, "ids", "U", (index.sequences,))
    require_names(_file(path, "ids"), "ids", ids)
    return ids


def _require(
    file: str, array: NDArray[Any], right: Callable[[slice], NDArray[np.bool_]], expected: str
) -> None:
    """Look through an array piece by piece; name its first wrong entry."""
    at_once = max(1, _CHUNK // max(1, array[0].size))
    for start in range(0, len(array), at_once):
        holds = right(slice(start, start + at_once))
        if not holds.all():
            row, *place = (int(at) for at in np.argwhere(~holds)[0])
            value = array[(start + row, *place)]
            raise bad(
                file,
                f"entry {start + row} (counted from 0) is {value}, expected {expected}. {AGAIN}",
            )


def _file(path: str, name: str) -> str:
    return os.path.join(path, f"{name}.npy")
