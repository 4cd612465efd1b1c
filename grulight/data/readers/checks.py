"""What every source must satisfy before it becomes `Sequences`."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.digits import Digits, as_float32
from grulight.data.readers.each_sequence import lengths_of, names_of, weights_of
from grulight.data.readers.hints import fill_missing
from grulight.data.readers.messages import bad
from grulight.data.readers.offsets import Offset, less, require_fit, stored_less
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.targets import Wish, target_notes, targets
from grulight.data.sequences import Labels, Sequences
from grulight.errors import listed

_CHUNK = 4_000_000  # values looked at at once, so that a memory-mapped array is never loaded whole


def checked(
    source: str,
    raw: RawSequences,
    *,
    require_labels: bool,
    wish: Wish,
    offset: Offset | None = None,
    missing: bool = False,
) -> Sequences:
    """Check what a reader found and put it into the one form; values may be NaN if ``missing``.

    Raises:
        InputError: Something is wrong with it; the message says what and where.
    """
    _check_shape(source, raw)
    count, _, width = raw.values.shape
    ids = names_of(source, "ids", raw.ids, count, "")
    features = names_of(source, "feature_names", raw.feature_names, width, "feature_")
    if len(set(features.tolist())) < width:
        raise bad(source, f"feature_names has duplicates: {listed(features.tolist())}.")
    lengths = lengths_of(source, raw, ids)
    labels, class_names = _labels(source, raw, lengths, ids, wish, required=require_labels)
    require_fit(source, offset, features.tolist())
    notes, needed = raw.notes, raw.needed_offset
    if not raw.is_whole:
        found = _check_values(source, raw.values, lengths, ids, features, offset, missing)
        notes, needed = notes + found[0], found[1]
    sequences = Sequences(
        values=raw.values if raw.is_whole else _stored(raw.values, lengths, offset),
        lengths=lengths,
        labels=labels,
        class_names=class_names,
        feature_names=tuple(features.tolist()),
        ids=ids,
        source=source,
        offset=offset,
        needed_offset=needed,
        groups=raw.groups,
        weights=weights_of(source, raw, ids),
    )
    said = target_notes(source, raw.labels, labels, sequences.counted)
    return replace(sequences, notes=notes + said)


def _check_shape(source: str, raw: RawSequences) -> None:
    x, name = raw.values, raw.name("x")
    if x.dtype.kind not in "biuf":
        raise bad(source, f"{name} holds {x.dtype}, expected numbers.")
    if x.ndim != 3:
        raise bad(
            source,
            f"{name} has shape {x.shape}, expected three axes (sequences, steps, features), "
            "or two for one feature.",
        )
    for axis, size in zip(("sequences", "steps", "features"), x.shape, strict=True):
        if size == 0:
            raise bad(source, f"{name} has shape {x.shape}: there are no {axis} in it.")
    arrays = {"y": raw.labels, "lengths": raw.lengths, "groups": raw.groups, "weights": raw.weights}
    for key, array in arrays.items():
        fits = array is None or (array.shape[:1] if key == "y" else array.shape) == x.shape[:1]
        if array is not None and not fits:
            raise bad(
                source,
                f"{raw.name(key)} has shape {array.shape}, expected {x.shape[:1]}, one entry for "
                f"each of the {len(x)} sequences in {name}.",
            )


def _labels(
    source: str,
    raw: RawSequences,
    lengths: NDArray[np.int64],
    ids: NDArray[np.str_],
    wish: Wish,
    *,
    required: bool,
) -> tuple[Labels | None, tuple[str, ...]]:
    if raw.labels is not None and required:
        try:
            steps = raw.values.shape[1]
            if raw.are_values and wish.kind == "auto":
                wish = replace(wish, kind="values")
            return targets(raw.labels, lengths, steps, ids, raw.class_names, wish)
        except ValueError as error:
            raise bad(source, f"{raw.name('y')}: {error}") from error
    if required:
        raise bad(source, f"has no labels, expected {raw.name('y')}.")
    return None, tuple(raw.class_names or ())


def _check_values(
    source: str,
    values: NDArray[Any],
    lengths: NDArray[np.int64],
    ids: NDArray[np.str_],
    features: NDArray[np.str_],
    offset: Offset | None,
    missing: bool,
) -> tuple[tuple[str, ...], Offset | None]:
    """Refuse values, within the valid steps, that float32 cannot hold as finite numbers.

    Return a note of the features that it holds with too few digits, and what would save them.
    """
    count, steps, width = values.shape
    size = max(1, _CHUNK // (steps * width))
    total, message = 0, ""
    digits = None if np.can_cast(values.dtype, np.float32) else Digits(width)
    for start in range(0, count, size):
        chunk = less(values[start : start + size], offset)
        rounded = as_float32(chunk)
        if digits is not None:
            valid = np.arange(steps) < lengths[start : start + size, None]
            digits.add(chunk[valid], rounded[valid])
        wrong = np.isinf(rounded) if missing else ~np.isfinite(rounded)
        if not wrong.any():
            continue
        wrong &= (np.arange(steps) < lengths[start : start + size, None])[:, :, None]
        if not message and wrong.any():
            row, step, column = (int(i) for i in np.argwhere(wrong)[0])
            message = (
                f"the first is {values[start + row, step, column]} in sequence "
                f"'{ids[start + row]}', step {step} (counted from 0), feature '{features[column]}'"
            )
        total += int(wrong.sum())
    if total:
        hint = f" {fill_missing()}" if " is nan in " in message else ""
        problem = f"{total} values are NaN, infinite or too large for float32; {message}.{hint}"
        raise bad(source, problem)
    if digits is None:
        return (), None
    return digits.notes(source, features.tolist()), digits.offset()


def _stored(values: NDArray[Any], lengths: NDArray[np.int64], offset: Offset | None) -> Any:
    """Return mapped values as they are, others as float32 with zeros for padding."""
    if isinstance(values, np.memmap):
        return values if offset is None else stored_less(values, offset)
    ours = as_float32(less(values, offset))
    steps = ours.shape[1]
    if (lengths < steps).any():
        ours[np.arange(steps) >= lengths[:, None]] = 0
    return ours
