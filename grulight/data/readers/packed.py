"""Read the packed form: sequences in .npy shards on disk, read when a batch asks for them.

What the directory holds is in ``packed_form``.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.lazy_values import StoredValues
from grulight.data.readers.messages import bad
from grulight.data.readers.packed_form import column, read_ids, read_labels, require_places
from grulight.data.readers.packed_index import INDEX, Index, read_index, shard_name
from grulight.data.readers.targets import Wish
from grulight.data.sequences import Sequences
from grulight.errors import option

_ANY = Wish()


@dataclass(frozen=True)
class Shards:
    """Where the values are.

    Attributes:
        path: The directory.
        arrays: Of each shard, (S, F) float32.
        firsts: (shards + 1,) the position of the first sequence of each shard, and N.
        starts: (N,) rows of the shards.
        lengths: (N,) steps.
        feature_names: F names, for messages.
        missing: Whether values may be NaN.
    """

    path: str
    arrays: Sequence[NDArray[np.float32]]
    firsts: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    feature_names: tuple[str, ...]
    missing: bool = False

    def read(self, positions: NDArray[np.int64], steps: int) -> NDArray[np.float32]:
        """Return the first ``steps`` steps (n, steps, F) of n sequences, zeros for padding.

        Raises:
            InputError: A value among them is not finite.
        """
        return self.read_stretches(positions, np.zeros_like(positions), steps)

    def read_stretches(
        self, positions: NDArray[np.int64], firsts: NDArray[np.int64], steps: int
    ) -> NDArray[np.float32]:
        """Return ``steps`` steps likewise, from step ``firsts`` (n,) of each on.

        Raises:
            InputError: A value among them is not finite.
        """
        shards = np.searchsorted(self.firsts, positions, side="right") - 1
        distinct = np.unique(shards).tolist()
        if len(distinct) == 1:
            return self._from_shard(distinct[0], positions, firsts, steps)
        values = np.empty((len(positions), steps, self.arrays[0].shape[1]), np.float32)
        for shard in distinct:
            here = shards == shard
            values[here] = self._from_shard(shard, positions[here], firsts[here], steps)
        return values

    def _from_shard(
        self, shard: int, positions: NDArray[np.int64], firsts: NDArray[np.int64], steps: int
    ) -> NDArray[np.float32]:
        step = firsts[:, None] + np.arange(steps)
        rows = self.starts[positions][:, None] + step
        valid = step < self.lengths[positions][:, None]
        array = self.arrays[shard]
        if valid.all():
            return self._finite(shard, rows, np.take(array, rows, axis=0))
        values = np.zeros((*rows.shape, array.shape[1]), np.float32)
        rows = rows[valid]
        values[valid] = self._finite(shard, rows, np.take(array, rows, axis=0))
        return values

    def _finite(
        self, shard: int, rows: NDArray[np.int64], values: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return values that were read from some rows of a shard, and are what they may be."""
        finite = ~np.isinf(values) if self.missing else np.isfinite(values)
        if not finite.all():
            *place, feature = (int(at) for at in np.argwhere(~finite)[0])
            raise bad(
                os.path.join(self.path, f"{shard_name(shard)}.npy"),
                f"row {rows[tuple(place)]} (counted from 0), feature "
                f"{self.feature_names[feature]!r}: {values[(*place, feature)]} is not a finite "
                "number. Pack the source again.",
            )
        return values


def is_packed(path: str) -> bool:
    """Return whether ``grulight pack`` wrote this directory, whatever became of it since."""
    return os.path.isfile(os.path.join(path, INDEX))


def read_packed(
    path: str, *, require_labels: bool = True, wish: Wish = _ANY, missing: bool = False
) -> Sequences:
    """Open a packed directory; the values are read, and checked, when they are indexed.

    Args:
        path: The directory.
        require_labels: Whether missing labels are an error; else they are left where they are.
        wish: What the labels have to be.
        missing: Whether values may be missing, which are NaN then.

    Raises:
        InputError: The directory is of another version, a file in it is missing or damaged or
            holds something else than ``packed_form`` says, the labels were packed as something
            else, or values are missing and must not be.
    """
    index = read_index(path)
    if require_labels and not index.labels:
        raise bad(path, "was packed without labels, expected some.")
    if index.missing and not missing:
        raise bad(
            path,
            f"was packed with missing values. {option('data.missing', 'mean')}, last or mask fills "
            "them.",
        )
    shards = _shards(path, index)
    shape = index.sequences, index.steps, len(index.feature_names)
    values: Any = StoredValues(shards.read, shape, stretches=shards.read_stretches)
    hold = wish.kind == "labels"
    sequences = Sequences(
        values=values,
        lengths=shards.lengths,
        labels=read_labels(path, index, hold=hold) if require_labels else None,
        class_names=index.class_names,
        feature_names=index.feature_names,
        ids=read_ids(path, index),
        source=path,
    )
    if require_labels:
        _require(path, sequences, wish)
    return sequences


def _shards(path: str, index: Index) -> Shards:
    count, width = (index.sequences,), len(index.feature_names)
    lengths, starts = (column(path, name, "int64", count) for name in ("lengths", "starts"))
    arrays = [
        column(path, shard_name(number), "float32", (shard.steps, width))
        for number, shard in enumerate(index.shards)
    ]
    require_places(path, index, lengths, starts)
    firsts = np.cumsum([0, *(shard.sequences for shard in index.shards)])
    return Shards(path, arrays, firsts, starts, lengths, index.feature_names, index.missing)


def _require(path: str, sequences: Sequences, wish: Wish) -> None:
    kind = ("labels" if wish.kind == "labels" else "values") if sequences.has_values else "classes"
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
