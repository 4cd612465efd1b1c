"""Labels of any kind become indices into sorted class names."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import listed, option

# Python refuses to convert integers of more than 4300 digits; nobody names a class so.
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
# what pandas reads as missing, and writes for it; `None` and `nan` are also Python's own words
MISSING = frozenset(
    (
        *("", "nan", "NaN", "-nan", "-NaN", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA"),
        *("null", "NULL", "None", "NaT", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    )
)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]*)?")


def class_indices(
    labels: NDArray[Any], ids: NDArray[np.str_], class_names: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the classes.

    Class names sort as numbers if all of them are whole numbers, else as text. Where class names
    are given, they keep their order; whole-number labels then count positions among them.

    Args:
        labels: (N,) integers, booleans, whole floats, strings or UTF-8 bytes.
        ids: (N,) names of the sequences, for messages.
        class_names: The classes in their order, if the source gives it.

    Returns:
        (N,) indices and the class names.

    Raises:
        ValueError: A label is of another kind, or not among the class names.
    """
    if class_names is not None:
        return _among(labels, ids, tuple(class_names)), tuple(class_names)
    distinct, where, inverse = np.unique(_texts(labels, ids), True, True)
    missing = np.array([name.strip() in MISSING for name in distinct.tolist()], dtype=bool)
    _refuse(missing, distinct, ids[where], "a class name; rename it where it is one")
    names = _whole(distinct.tolist(), ids[where])
    ordered = _sorted(set(names))
    position = {name: index for index, name in enumerate(ordered)}
    return np.array([position[name] for name in names], dtype=np.int64)[inverse], ordered


def _texts(labels: NDArray[Any], ids: NDArray[np.str_]) -> NDArray[np.str_]:
    kind = labels.dtype.kind
    if kind == "S":
        labels, kind = np.char.decode(labels, "utf-8"), "U"
    if kind == "U":
        _refuse(labels == "", labels, ids, "a class name")
        return labels
    if kind == "f":
        _refuse(~(np.isfinite(labels) & (labels == np.floor(labels))), labels, ids)
        return np.array([str(int(value)) for value in labels.tolist()])
    if kind in "biu":
        return labels.astype(np.uint8 if kind == "b" else labels.dtype).astype(np.str_)
    raise ValueError(f"labels of type {labels.dtype}, expected whole numbers or strings.")


def _refuse(
    wrong: NDArray[np.bool_],
    labels: NDArray[Any],
    ids: NDArray[np.str_],
    expected: str | None = None,
) -> None:
    if wrong.any():
        first = int(wrong.argmax())
        values = f"{option('data.targets', 'values')} predicts numbers"
        expected = expected or f"a whole number or a class name; {values}"
        raise ValueError(
            f"the label of sequence '{ids[first]}' is {labels[first].item()!r} "
            f"({np.count_nonzero(wrong)} such), expected {expected}."
        )


def _whole(names: list[str], ids: NDArray[np.str_]) -> list[str]:
    """Drop the decimal point where a table wrote whole numbers as 1.0."""
    decimal = all(_DECIMAL.fullmatch(name) for name in names)
    if not decimal or not any("." in name for name in names):
        return names
    fractions = [name.partition(".")[2].strip("0") != "" for name in names]
    _refuse(np.array(fractions), np.array(names), ids)
    return [str(int(name.partition(".")[0])) for name in names]


def _sorted(names: set[str]) -> tuple[str, ...]:
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _among(
    labels: NDArray[Any], ids: NDArray[np.str_], class_names: tuple[str, ...]
) -> NDArray[np.int64]:
    if len(set(class_names)) < len(class_names):
        raise ValueError(f"class_names has duplicates: {listed(class_names)}.")
    texts = _texts(labels, ids)
    known = class_names
    if labels.dtype.kind in "biuf":
        known = tuple(map(str, range(len(class_names))))
    position = {name: index for index, name in enumerate(known)}
    indices = np.array([position.get(text, -1) for text in texts.tolist()], dtype=np.int64)
    _refuse(indices < 0, labels, ids, f"one of class_names ({listed(known)})")
    return indices
