"""The packed form: sequences in .npy shards on disk, read when a batch asks for them.

A directory holds ``index.json`` and, all of them plain NumPy files:

- ``values-00000.npy``, ...: (S, F) float32, the steps of whole sequences one after the other;
- ``lengths.npy`` and ``starts.npy``: (N,) int64, the steps of each sequence and the row of its
  shard that it starts at;
- ``labels.npy``: where the source has labels, (N,) or (N, S) int64 classes, or (N, K) or (N, S, K)
  float32 values, zero in the padding; S is the steps of the longest sequence, padding included
  where the source is an array, or those of answers with steps of their own;
- ``ids.npy``: (N,) what the source calls its sequences.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.arrays import mapped
from grulight.data.readers.checks import bad
from grulight.data.readers.names import name_array
from grulight.data.readers.targets import Wish
from grulight.data.sequences import Sequences
from grulight.data.stored import StoredValues

INDEX = "index.json"
FORMAT = "grulight packed sequences"
VERSION = 1
_ANY = Wish()


@dataclass(frozen=True)
class Shards:
    """Where the values are.

    Attributes:
        arrays: Of each shard, (S, F) float32.
        firsts: (shards + 1,) the position of the first sequence of each shard, and N.
        starts: (N,) rows of the shards.
        lengths: (N,) steps.
    """

    arrays: Sequence[NDArray[np.float32]]
    firsts: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def read(self, positions: NDArray[np.int64], steps: int) -> NDArray[np.float32]:
        """Return the first ``steps`` steps (n, steps, F) of n sequences, zeros for padding."""
        shards = np.searchsorted(self.firsts, positions, side="right") - 1
        distinct = np.unique(shards).tolist()
        if len(distinct) == 1:
            return self._from_shard(distinct[0], positions, steps)
        values = np.empty((len(positions), steps, self.arrays[0].shape[1]), np.float32)
        for shard in distinct:
            here = shards == shard
            values[here] = self._from_shard(shard, positions[here], steps)
        return values

    def _from_shard(
        self, shard: int, positions: NDArray[np.int64], steps: int
    ) -> NDArray[np.float32]:
        step = np.arange(steps)
        rows = self.starts[positions][:, None] + step
        valid = step < self.lengths[positions][:, None]
        array = self.arrays[shard]
        if valid.all():
            return np.take(array, rows, axis=0)
        values = np.zeros((*rows.shape, array.shape[1]), np.float32)
        values[valid] = np.take(array, rows[valid], axis=0)
        return values


def is_packed(path: str) -> bool:
    """Return whether ``grulight pack`` wrote this directory, whatever became of it since."""
    return os.path.isfile(os.path.join(path, INDEX))


def read_packed(path: str, *, require_labels: bool = True, wish: Wish = _ANY) -> Sequences:
    """Open a packed directory; the values are read when they are indexed.

    Args:
        path: The directory.
        require_labels: Whether missing labels are an error; else they are left where they are.
        wish: What the labels have to be.

    Raises:
        InputError: The directory is of another version, a file in it is missing or damaged, or the
            labels were packed as something else.
    """
    index = _index(path)
    features, classes = tuple(index["feature_names"]), index["class_names"]
    count, width = index["sequences"], len(features)
    for key, names in (("feature_names", features), ("class_names", classes or ())):
        name_array(os.path.join(path, INDEX), key, names)

    def column(name: str, kinds: str, *shape: int) -> NDArray[Any]:
        return _column(os.path.join(path, f"{name}.npy"), kinds, shape)

    lengths, starts = column("lengths", "i", count), column("starts", "i", count)
    arrays = [
        column(shard_name(number), "f", shard["steps"], width)
        for number, shard in enumerate(index["shards"])
    ]
    if require_labels and not index["labels"]:
        raise bad(path, "was packed without labels, expected some.")
    firsts = np.cumsum([0, *(shard["sequences"] for shard in index["shards"])])
    shards = Shards(arrays, firsts, starts, lengths)
    values: Any = StoredValues(shards.read, (count, index["steps"], width))
    sequences = Sequences(
        values=values,
        lengths=lengths,
        labels=column("labels", "if", count) if require_labels else None,
        class_names=tuple(classes or ()),
        feature_names=features,
        ids=column("ids", "U", count),
        source=path,
    )
    if require_labels:
        _require(path, sequences, wish)
    return sequences


def _require(path: str, sequences: Sequences, wish: Wish) -> None:
    kind = "values" if sequences.has_values else "classes"
    asked = kind if wish.kind == "auto" else wish.kind
    steps = sequences.per_step if wish.per_step is None else wish.per_step
    if (kind, sequences.per_step) != (asked, steps):
        options = f"--targets {asked} {'--per-step' if steps else '--no-per-step'}"
        raise bad(
            path,
            f"was packed with {kind} per {_unit(sequences.per_step)}, expected {asked} per "
            f"{_unit(steps)}. Pack the source again with {options}.",
        )


def _unit(per_step: bool) -> str:
    return "step" if per_step else "sequence"


def shard_name(number: int) -> str:
    """Return what the shard of this number is called, without its suffix."""
    return f"values-{number:05d}"


def _index(path: str) -> dict[str, Any]:
    file = os.path.join(path, INDEX)
    try:
        with open(file, encoding="utf-8") as stream:
            index = json.load(stream)
    except (OSError, ValueError) as error:
        raise bad(file, f"is damaged or cut short ({error}). Pack the source again.") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise bad(file, "was not written by `grulight pack`. Is it of LitData? Write litdata:PATH.")
    if index.get("version") != VERSION:
        raise bad(
            file,
            f"has version {index.get('version')!r} of the format, expected {VERSION}. Pack the "
            "source again, or use the version of grulight that packed it.",
        )
    if not _complete(index):
        raise bad(file, "lacks some of its entries. Pack the source again.")
    return index


def _complete(index: dict[str, Any]) -> bool:
    whole = [index.get("sequences"), index.get("steps")]
    shards = index.get("shards")
    if not _are(shards, dict) or not _are(index.get("feature_names"), str):
        return False
    whole += [shard.get(key) for shard in shards for key in ("sequences", "steps")]
    if not all(type(each) is int and each > 0 for each in whole):
        return False
    classes = index.get("class_names", 0)
    return (
        sum(shard["sequences"] for shard in shards) == index["sequences"]
        and type(index.get("labels")) is bool
        and (classes is None or _are(classes, str))
    )


def _are(items: object, kind: type) -> TypeGuard[list[Any]]:
    return isinstance(items, list) and bool(items) and all(type(item) is kind for item in items)


def _column(file: str, kinds: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a file of such numbers or texts whose first axes are ``shape``; labels may have more."""
    if not os.path.exists(file):
        raise bad(file, "is missing. Copy it as well, or pack the source again.")
    array = np.asarray(mapped(file))  # indexing np.memmap takes longer
    if array.shape[: len(shape)] != shape or array.dtype.kind not in kinds:
        raise bad(
            file,
            f"holds {array.dtype} of shape {array.shape}, expected {shape} as {INDEX} says. Pack "
            "the source again.",
        )
    return array
