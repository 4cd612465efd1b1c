"""What each sample of a LitData set must be, and the labels of all of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.digits import as_float32
from grulight.data.readers.messages import bad
from grulight.data.readers.names import LONGEST, require_names
from grulight.data.readers.targets import Wish, targets
from grulight.data.sequences import Labels
from grulight.errors import InputError

_EXPECTED = "samples of the form {'values': (steps, features), 'label': ..., 'id': ...}"


def described(source: str, at: int, sample: Any, first: Any) -> tuple[int, Any, str]:
    """Return length, label and name of a sample that is like the first one.

    Raises:
        InputError: It is no such sample.
    """
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
    if letters > LONGEST:
        raise bad(source, f"sample {at}: a text of {letters:,} letters, expected {LONGEST:,}.")
    return len(values), label, name


def _array(source: str, at: int, sample: dict[str, Any], key: str) -> NDArray[Any]:
    try:
        return np.asarray(sample[key])
    except (TypeError, ValueError, RuntimeError) as error:  # bfloat16, or a list of unequal arrays
        said = str(error)[:200]
        raise bad(source, f"sample {at}: {key!r} is no array of numbers ({said}).") from error


def stacked_labels(
    source: str,
    labels: list[Any],
    lengths: NDArray[np.int64],
    ids: NDArray[np.str_],
    wish: Wish,
) -> tuple[Labels, tuple[str, ...], NDArray[Any]]:
    """Return the labels of all samples, the names of their classes, and what the samples say.

    Raises:
        InputError: There are none, or they do not fit each other or the sequences.
    """
    if labels[0] is None:
        raise bad(source, "has no labels, expected a 'label' in each sample.")
    try:
        y = _stacked(labels, lengths)
        if y.dtype.kind == "U":
            require_names(source, "'label'", y)
        return *targets(y, lengths, int(lengths.max()), ids, None, wish), y
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise bad(source, f"'label': {error}") from error
    except MemoryError as error:  # one long sequence pads the steps of all
        raise bad(source, "'label': padded to the longest, labels exceed memory.") from error


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
