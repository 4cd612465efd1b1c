"""Data sets that LitData optimised, on disk or in an object store."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.checks import as_float32, bad
from grulight.data.readers.names import name_array, require_names
from grulight.data.readers.targets import Wish, targets
from grulight.data.sequences import Labels, Sequences
from grulight.data.stored import StoredValues
from grulight.errors import InputError
from grulight.extras import extra

PREFIX = "litdata:"
_EXPECTED = "samples of the form {'values': (steps, features), 'label': ..., 'id': ...}"


@dataclass(frozen=True)
class _Samples:
    dataset: Any
    width: int

    def read(self, positions: NDArray[np.int64], steps: int) -> NDArray[np.float32]:
        values = np.zeros((len(positions), steps, self.width), np.float32)
        # in the order they are stored in: going from one chunk to another takes long
        for row in np.argsort(positions).tolist():
            sequence = np.asarray(self.dataset[int(positions[row])]["values"])[:steps]
            values[row, : len(sequence)] = sequence
        return values


def read_lit(source: str, *, require_labels: bool, wish: Wish) -> Sequences:
    """Open a LitData set whose samples have ``values`` and, where present, ``label`` and ``id``.

    Every sample is read once to learn lengths and labels, and is checked then.

    Args:
        source: ``litdata:`` and a directory or an address that LitData knows, such as s3://....
        require_labels: Whether missing labels are an error; else they are left where they are.
        wish: What the labels are: one for each sample, or one for each of its steps.

    Raises:
        InputError: litdata is not installed, or cannot read the set, or a sample is wrong.
    """
    litdata = extra("litdata", "data", source)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A newer version of litdata")
            dataset = litdata.StreamingDataset(source.removeprefix(PREFIX))
        first = dataset[0]
        dataset.on_demand_bytes = False  # whole chunks, not one request for each sample
        chunks = dataset.cache.get_chunk_intervals()
        blocks = np.cumsum([0, *(chunk.roi_end_idx - chunk.roi_start_idx for chunk in chunks)])
        samples = [_described(source, 0, first, first)]
        for at in range(1, int(blocks[-1])):
            samples.append(_described(source, at, dataset[at], first))
    except InputError:
        raise
    except Exception as error:  # each store has errors of its own
        said = f"{type(error).__name__}: {error}"
        raise bad(source, f"LitData cannot read it ({said}).") from error
    lengths = np.array([length for length, _, _ in samples])
    ids = name_array(source, "'id'", [name for _, _, name in samples])
    labels: Labels | None = None
    classes: tuple[str, ...] = ()
    if require_labels:
        if samples[0][1] is None:
            raise bad(source, "has no labels, expected a 'label' in each sample.")
        try:
            y = _stacked([label for _, label, _ in samples], lengths)
            if y.dtype.kind == "U":
                require_names(source, "'label'", y)
            labels, classes = targets(y, lengths, int(lengths.max()), ids, None, wish)
        except InputError:
            raise
        except ValueError as error:
            raise bad(source, f"'label': {error}") from error
    width = np.asarray(first["values"]).shape[1]
    shape = (len(samples), int(lengths.max()), width)
    values: Any = StoredValues(_Samples(dataset, width).read, shape, blocks)
    return Sequences(
        values=values,
        lengths=lengths,
        labels=labels,
        class_names=classes,
        feature_names=tuple(f"feature_{i}" for i in range(width)),
        ids=ids,
        source=source,
    )


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
    values, width = np.asarray(sample["values"]), np.asarray(first["values"]).shape[-1:]
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
    label = np.asarray(sample["label"]) if "label" in sample else None
    return len(values), label, str(sample.get("id", at))
