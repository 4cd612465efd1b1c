"""Data sets that LitData optimised, in a local directory."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.checks import as_float32, bad
from grulight.data.readers.lit_index import check_set
from grulight.data.readers.targets import Wish, targets
from grulight.data.sequences import Labels, Sequences
from grulight.data.stored import StoredValues
from grulight.extras import extra

PREFIX = "litdata:"
_MOST_TEXT = 1000  # letters: each name takes as much memory as the longest one
_EXPECTED = "samples of the form {'values': (steps, features), 'label': ..., 'id': ...}"


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
    described = [_described(source, at, samples[at], first) for at in range(int(blocks[-1]))]
    lengths = np.array([length for length, _, _ in described])
    ids = np.array([name for _, _, name in described])
    labels: Labels | None = None
    classes: tuple[str, ...] = ()
    if require_labels:
        if described[0][1] is None:
            raise bad(source, "has no labels, expected a 'label' in each sample.")
        try:
            y = _stacked([label for _, label, _ in described], lengths)
            labels, classes = targets(y, lengths, int(lengths.max()), ids, None, wish)
        except (ValueError, TypeError) as error:
            raise bad(source, f"'label': {error}") from error
        except MemoryError as error:  # one long sequence pads the steps of all
            raise bad(source, "'label': padded to the longest, labels exceed memory.") from error
    width = np.asarray(first["values"]).shape[1]
    shape = (len(described), int(lengths.max()), width)
    values: Any = StoredValues(partial(samples.read, width=width), shape, blocks)
    return Sequences(
        values=values,
        lengths=lengths,
        labels=labels,
        class_names=classes,
        feature_names=tuple(f"feature_{i}" for i in range(width)),
        ids=ids,
        source=source,
    )


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
        cache = Cache(Dir(str(folder)), chunk_bytes=1, serializers={"tensor": _tensors()})
        chunks = cache.get_chunk_intervals()
    except Exception as error:
        said = f"{type(error).__name__}: {str(error)[:200]}"
        raise bad(source, f"LitData cannot read it ({said}).") from error
    return _Samples(source, cache), np.cumsum([0, *(c.chunk_end - c.chunk_start for c in chunks)])


def _tensors() -> Any:
    """Return LitData's reader of tensors without what makes memory of a few bytes."""
    from litdata.streaming.serializers import TensorSerializer

    class FilledTensors(TensorSerializer):  # type: ignore[misc]  # comes without types
        def deserialize(self, data: bytes) -> Any:
            # LitData allocates whatever shape a tensor without elements claims
            if len(data) <= 8 + 4 * int(np.frombuffer(data, np.uint32, 1, 4)[0]):
                raise ValueError("a tensor without elements")
            return super().deserialize(data)

    return FilledTensors()


def _stacked(labels: list[NDArray[Any]], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Return labels as one array, those of the steps of sequences padded to the longest.

    Raises:
        ValueError: They are of several shapes, and not one for each step.
    """
    shapes = {label.shape for label in labels}
    if len(shapes) == 1:
        return np.stack(labels)
    counts = np.array([len(label) if label.ndim else 0 for label in labels])
    if (counts != lengths).any() or len({shape[1:] for shape in shapes}) > 1:
        at = next(at for at, label in enumerate(labels) if label.shape != labels[0].shape)
        raise ValueError(
            f"has shape {labels[at].shape} in sample {at} and {labels[0].shape} in the first one, "
            "expected the same, or one label for each step."
        )
    valid = np.arange(lengths.max()) < lengths[:, None]
    each = np.concatenate(labels)
    padded = np.zeros((*valid.shape, *each.shape[1:]), each.dtype)
    padded[valid] = each
    return padded


def _described(source: str, at: int, sample: Any, first: Any) -> tuple[int, Any, str]:
    """Return length, label and name of a sample that is like the first one."""
    if not isinstance(sample, dict) or "values" not in sample:
        raise bad(source, f"sample {at} is {type(sample).__name__}, expected {_EXPECTED}.")
    values, width = _array(source, at, sample, "values"), np.asarray(first["values"]).shape[-1:]
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        found = f"{values.dtype} of shape {values.shape}"
        raise bad(source, f"sample {at}: 'values' holds {found}, expected (steps, features).")
    if values.shape[1:] != width:
        count = values.shape[1]
        raise bad(source, f"sample {at} has {count} features, but the first one has {width[0]}.")
    if not np.isfinite(as_float32(values)).all():
        raise bad(source, f"sample {at} holds NaN, infinity or numbers too large for float32.")
    if ("label" in sample) != ("label" in first):
        raise bad(source, f"sample {at}: expected a 'label' in all samples or in none.")
    label = _array(source, at, sample, "label") if "label" in sample else None
    name = str(sample.get("id", at))
    letters = max(
        len(name), label.itemsize // 4 if label is not None and label.dtype.kind == "U" else 0
    )
    if letters > _MOST_TEXT:
        raise bad(source, f"sample {at}: a text of {letters:,} letters, expected {_MOST_TEXT:,}.")
    return len(values), label, name


def _array(source: str, at: int, sample: dict[str, Any], key: str) -> NDArray[Any]:
    try:
        return np.asarray(sample[key])
    except (TypeError, ValueError, RuntimeError) as error:  # bfloat16, or a list of unequal arrays
        said = str(error)[:200]
        raise bad(source, f"sample {at}: {key!r} is no array of numbers ({said}).") from error
