"""What a classifier answers for data in memory, and answers as columns of a table."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pyarrow
from numpy.typing import NDArray

from grulight.data.batches import Batches
from grulight.data.missing import Filling, names_without_mask, offset_without_mask
from grulight.data.readers import Given, ReadOptions, has_names, named, read
from grulight.data.sequences import Sequences
from grulight.data.windowing import windows_of_all
from grulight.data.windows import Windows, series_options
from grulight.errors import InputError
from grulight.heads import Columns, Head

_AT_ONCE = 256  # sequences


class Answering(Protocol):
    """What is asked of a classifier."""

    network: Any
    head: Head
    class_names: tuple[str, ...]
    windows: Windows | None

    @property
    def hparams(self) -> Any:
        """Its arguments."""

    def predict_read(
        self, values: NDArray[np.floating], lengths: NDArray[np.integer] | None = None
    ) -> NDArray[np.floating]:
        """Return what is predicted for sequences less the offset."""


def predicted(classifier: Answering, data: Any, options: ReadOptions) -> Any:
    """Return what a classifier answers for each sequence; see ``GRUClassifier.predict``."""
    source = named(data)
    sequences = _read(classifier, source, options)
    follows = classifier.network.follows_steps
    found: list[Columns] = []
    at = 0
    for batch in Batches(sequences, _AT_ONCE, whole=classifier.network.reads_padding):
        part = sequences.part(at, at + len(batch.values))
        at += len(part)
        answers = classifier.predict_read(
            batch.values.numpy(), None if batch.lengths is None else batch.lengths.numpy()
        )
        lengths = part.lengths if follows else None
        names, head = classifier.class_names, classifier.head
        found.append(prediction_columns(head, names, part.ids, lengths, answers))
    columns = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    if isinstance(source, str) or not source.is_table:
        return columns
    ids = pyarrow.array(columns.pop("sequence"))
    if classifier.windows is None:
        ids = source.with_type_of(options.sequence, ids)
    return _as_given(source, {options.sequence: ids} | columns)


def _read(classifier: Answering, source: str | Given, options: ReadOptions) -> Sequences:
    known = classifier.hparams
    kind, fill, names = known["missing"], known["fill"], known["feature_names"]
    if names is not None and kind is not None:
        names = names_without_mask(names, kind)
    if (windows := classifier.windows) is not None:
        options = series_options(options)
    wanted = replace(
        options,
        features=tuple(names) if names is not None and has_names(source) else None,
        require_labels=False,
        label=None,
        missing=kind is not None,
        offset=offset_without_mask(known["offset"], fill),
    )
    sequences = read(source, wanted)
    if names is not None:
        sequences = sequences.with_features(names)
    if windows is not None:
        [sequences] = windows_of_all(replace(windows, inputs=None), [sequences], {})
    return sequences if kind is None else Filling(kind, np.array(fill))(sequences)


def _as_given(source: Given, columns: dict[str, Any]) -> Any:
    """Return columns as a frame of the kind that was given."""
    table = pyarrow.table({name: pyarrow.array(column) for name, column in columns.items()})
    if "polars" in sys.modules and isinstance(source.data, sys.modules["polars"].DataFrame):
        return sys.modules["polars"].from_arrow(table)
    return table if isinstance(source.data, pyarrow.Table) else table.to_pandas()


def prediction_columns(
    head: Head,
    names: Sequence[str],
    ids: NDArray[np.str_],
    lengths: NDArray[np.int64] | None,
    answers: NDArray[np.floating],
    disagreement: NDArray[np.floating] | None = None,
) -> Columns:
    """Put the predictions of a batch into columns.

    Args:
        head: What they mean.
        names: The classes, labels or values.
        ids: (B,) names of the sequences.
        lengths: (B,) how many answers of each sequence count; None for all.
        answers: (B, C) or (B, S, C).
        disagreement: Of the form of the answers, their standard deviation over an ensemble's
            members; None for a single model.

    Returns:
        ``sequence``, ``step`` (counted from 0) where there is an answer for each, then
        ``predicted`` and ``probability_<class>``, or ``probability_<label>``, or
        ``value_<name>``; and of an ensemble ``disagreement``, the largest of any class or label,
        or ``disagreement_<name>`` of each value, in its own unit.

    Raises:
        InputError: An answer is not finite.
    """
    if not head.per_step:
        _require_finite(answers, ids)
        spread = {} if disagreement is None else head.spread_columns(disagreement, names)
        return {"sequence": ids, **head.columns(answers, names), **spread}
    counted = np.ones(answers.shape[:2], dtype=bool)
    if lengths is not None:
        counted = np.arange(answers.shape[1]) < lengths[:, None]
    sequences, steps = counted.nonzero()
    _require_finite(answers[counted], ids[sequences])
    spread = {} if disagreement is None else head.spread_columns(disagreement[counted], names)
    found = head.columns(answers[counted], names)
    return {"sequence": ids[sequences], "step": steps, **found, **spread}


def _require_finite(answers: NDArray[np.floating], ids: NDArray[np.str_]) -> None:
    """Refuse answers (B, C) that say nothing."""
    finite = np.isfinite(answers).all(axis=1)
    if not finite.all():
        raise InputError(
            f"sequence {ids[finite.argmin()]}: the answer is not finite. Its values, or the "
            "model's weights, are too large; nothing was written."
        )
