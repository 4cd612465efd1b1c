"""Data sets that LitData optimised, in a local directory."""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.lazy_values import StoredValues
from grulight.data.readers.lit_data_index import check_set
from grulight.data.readers.lit_data_samples import described, stacked_labels
from grulight.data.readers.messages import bad
from grulight.data.readers.names import name_array
from grulight.data.readers.targets import Wish, target_notes
from grulight.data.sequences import Labels, Sequences
from grulight.extras import extra

PREFIX = "litdata:"


@dataclass(frozen=True)
class _Samples:
    """The samples of a set.

    Attributes:
        source: What the user calls it.
        cache: LitData's reader.
    """

    source: str
    cache: Any

    def __getitem__(self, at: int) -> Any:
        """Return a sample.

        Raises:
            InputError: LitData cannot read it.
        """
        try:
            return self.cache[at]
        except Exception as error:  # whatever a sample's bytes lead LitData and NumPy to raise
            said = f"{type(error).__name__}: {str(error)[:200]}"
            raise bad(self.source, f"LitData cannot read sample {at} ({said}).") from error

    def read(self, positions: NDArray[np.int64], steps: int, width: int) -> NDArray[np.float32]:
        values = np.zeros((len(positions), steps, width), np.float32)
        # in the order they are stored in: going from one chunk to another takes long
        for row in np.argsort(positions).tolist():
            sequence = np.asarray(self[int(positions[row])]["values"])[:steps]
            values[row, : len(sequence)] = sequence
        return values


class _FilledTensors:
    """LitData's reader of tensors, which allocates whatever shape one without elements claims."""

    def __init__(self) -> None:
        from litdata.streaming.serializers import TensorSerializer

        self._theirs = TensorSerializer()

    def setup(self, metadata: Any) -> None:
        """Nothing: a tensor says itself what it is."""

    def deserialize(self, data: bytes) -> Any:
        if len(data) <= 8 + 4 * int(np.frombuffer(data, np.uint32, 1, 4)[0]):
            raise ValueError("a tensor without elements")
        return self._theirs.deserialize(data)


def read_lit(source: str, *, require_labels: bool, wish: Wish) -> Sequences:
    """Open a LitData set whose samples have ``values`` and, where present, ``label`` and ``id``.

    Nothing in the set is run: see :func:`check_set`. Every sample is read once to learn lengths and
    labels, and is checked then.

    Args:
        source: ``litdata:`` and a local directory.
        require_labels: Whether missing labels are an error; else they are left where they are.
        wish: What the labels are: one for each sample, or one for each of its steps.

    Raises:
        InputError: litdata is not installed, the set is not one of plain numbers and texts in a
            local directory, or a sample is wrong.
    """
    extra("litdata", "data", source)
    samples, blocks = _opened(source)
    first = samples[0]
    checked = [described(source, at, samples[at], first) for at in range(int(blocks[-1]))]
    lengths = np.array([length for length, _, _ in checked])
    ids = name_array(source, "'id'", [name for _, _, name in checked])
    labels: Labels | None = None
    classes: tuple[str, ...] = ()
    y: NDArray[Any] | None = None
    if require_labels:
        found = [label for _, label, _ in checked]
        labels, classes, y = stacked_labels(source, found, lengths, ids, wish)
    width = np.asarray(first["values"]).shape[1]
    shape = (len(checked), int(lengths.max()), width)
    values: Any = StoredValues(partial(samples.read, width=width), shape, blocks)
    sequences = Sequences(
        values=values,
        lengths=lengths,
        labels=labels,
        class_names=classes,
        feature_names=tuple(f"feature_{i}" for i in range(width)),
        ids=ids,
        source=source,
    )
    return replace(sequences, notes=target_notes(source, y, labels, sequences.counted))


def _opened(source: str) -> tuple[_Samples, NDArray[np.int64]]:
    """Return the samples, and the positions at which chunks begin and the last one ends.

    Raises:
        InputError: The set is not one that can be read.
    """
    name = source.removeprefix(PREFIX)
    if "://" in name or name.startswith("local:"):
        # LitData fetches an index again and again, and puts names of chunks into a shell command
        raise bad(
            source,
            "is a remote address, whose content cannot be checked before it is read. Copy the set "
            f"to a local directory and name it as {PREFIX}DIR.",
        )
    folder = Path(os.path.expanduser(name))
    check_set(source, folder)
    from litdata.streaming import Cache
    from litdata.streaming.resolver import Dir

    try:
        # Dir: no name of a directory stands for a remote one; chunk_bytes is for writing
        cache = Cache(Dir(str(folder)), chunk_bytes=1, serializers={"tensor": _FilledTensors()})
        chunks = cache.get_chunk_intervals()
    except Exception as error:
        said = f"{type(error).__name__}: {str(error)[:200]}"
        raise bad(source, f"LitData cannot read it ({said}).") from error
    return _Samples(source, cache), np.cumsum([0, *(c.chunk_end - c.chunk_start for c in chunks)])
