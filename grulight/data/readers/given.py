"""Sequences that a program has in memory: data frames, arrays, lists of arrays."""

import math
import os
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.memory import require_memory
from grulight.data.readers.messages import bad
from grulight.data.readers.options import ReadOptions, columns_of
from grulight.data.readers.raw import RawSequences
from grulight.data.sequences import Sequences
from grulight.errors import InputError
from grulight.kernels.unequal import of_features, stacked


class Given:
    """What a program gives in the place of a source's name.

    Args:
        data: A data frame (pandas, polars, Arrow or another with its interfaces), an array x
            (N, T, F) or (N, T), a list of arrays (T, F) or (T,) of any lengths, (x, y) of one of
            these and labels (of the steps of a list, a list of arrays as well), (x, y, weights)
            with (N,) weights of the sequences, or ``Sequences``.
    """

    def __init__(self, data: Any) -> None:
        self.data = data

    def __str__(self) -> str:
        """Return what it is, for messages."""
        if isinstance(self.data, list | tuple):
            words = "(x, y, weights)" if len(self.data) == 3 else "(x, y)"
            return "the list of arrays" if isinstance(self.data, list) else words
        kind = type(self.data)
        return f"the {kind.__module__.partition('.')[0]} {kind.__name__}"

    @property
    def is_table(self) -> bool:
        """Whether it is a data frame."""
        interfaces = ("__arrow_c_stream__", "__dataframe__")
        array = isinstance(self.data, np.ndarray | list | tuple | Sequences)
        return not array and any(hasattr(self.data, name) for name in interfaces)

    def with_type_of(self, name: str, array: Any) -> Any:
        """Return an Arrow array of texts in the type that a column of the data frame has."""
        import pyarrow as arrow

        from grulight.data.readers.arrow_table import ArrowTable

        schema = ArrowTable(str(self), self.data).schema
        if name not in schema.names:
            return array
        kind = schema.field(name).type
        return array.cast(kind.value_type if arrow.types.is_dictionary(kind) else kind)

    def raw(self, options: ReadOptions) -> RawSequences:
        """Return the sequences, unchecked.

        Raises:
            InputError: It is something else, or a column or cell is wrong.
        """
        if self.is_table:
            return self._table(options)
        parts = self.data if isinstance(self.data, tuple) else (self.data,)
        if not 1 <= len(parts) <= 3:
            raise bad(str(self), f"has {len(parts)} entries, expected 2, or 3 with weights.")
        x, y, weights = (*parts, None, None)[:3]
        values, lengths = self._values(x)
        labels = None if y is None else self._labels(y, lengths)
        weights = None if weights is None else self._array("weights", weights)
        return RawSequences(values, labels, lengths=lengths, weights=weights)

    def _table(self, options: ReadOptions) -> RawSequences:
        from grulight.data.readers.arrow_table import ArrowTable
        from grulight.data.readers.long_table import padded_sequences
        from grulight.data.readers.tables import rows_of_table

        source, columns = str(self), columns_of(options)
        table = ArrowTable(source, self.data)
        [rows] = rows_of_table(source, table, columns, math.inf)
        return padded_sequences(source, rows, columns)

    def _values(self, x: Any) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Return values (N, T, F), and lengths where they are unequal."""
        if not isinstance(x, list | tuple):
            values = self._array("x", x)
            return (values[:, :, None] if values.ndim == 2 else values), None
        cases = [self._array(f"x[{at}]", case) for at, case in enumerate(x)]
        cases = of_features(f"{self}: x", cases)
        if not cases:
            raise bad(str(self), "x has no sequences.")
        lengths = np.array([len(case) for case in cases])
        return self._padded(cases, lengths), lengths

    def _labels(self, y: Any, lengths: NDArray[np.int64] | None) -> NDArray[Any]:
        """Return labels (N, ...); those of unequal sequences' steps are padded, (N, T, ...)."""
        listed = isinstance(y, list | tuple) and len(y) > 0
        if lengths is None or not listed or len(y) != len(lengths) or not _is_row(y[0]):
            return self._array("y", y)
        cases = [self._array(f"y[{at}]", case) for at, case in enumerate(y)]
        if len({case.shape for case in cases}) == 1:
            return self._array("y", y)
        for at, (case, steps) in enumerate(zip(cases, lengths, strict=True)):
            if case.shape != (steps, *cases[0].shape[1:]):
                problem = f"y[{at}] is of shape {case.shape}, but x[{at}] has {steps} steps"
                raise bad(str(self), f"{problem}; expected a label for each of them.")
        return self._padded(cases, lengths)

    def _padded(self, cases: list[NDArray[Any]], lengths: NDArray[np.int64]) -> NDArray[Any]:
        """Return arrays (N, T, ...), of which there is one for each sequence, as one array."""
        shape = (len(cases), int(lengths.max()), *cases[0].shape[1:])
        what = f"padding {shape[0]:,} sequences to {shape[1]:,} steps"
        size = math.prod(shape) * np.result_type(*{case.dtype for case in cases}).itemsize
        require_memory(str(self), what, size, "Use less of it.")
        return stacked(cases)

    def _array(self, name: str, given: Any) -> NDArray[Any]:
        try:
            array = np.asarray(given)
        except (ValueError, TypeError, RuntimeError) as error:
            raise bad(str(self), f"{name} is no array ({error}).") from error
        if array.dtype.kind == "O":  # of texts, as a column of a frame
            array = np.array(array.tolist())
        if array.dtype.kind not in "biufUS" or not array.ndim:
            raise bad(
                str(self),
                f"{name} is {type(given).__name__}, expected a data frame, arrays x, (x, y) or "
                "(x, y, weights), a list of arrays (steps, features), Sequences, or the name of a "
                "source.",
            )
        return array


def _is_row(label: Any) -> bool:
    return isinstance(label, list | tuple) or getattr(label, "ndim", 0) > 0


def given_sequences(given: Given, options: ReadOptions) -> Sequences:
    """Return ``Sequences`` that were given, without labels where none are asked for.

    Raises:
        InputError: They have no labels, but some are asked for.
    """
    sequences: Sequences = given.data
    if options.require_labels and sequences.labels is None:
        raise InputError(f"{sequences.source}: has no labels.")
    return replace(sequences, needed_offset=None)  # their digits are lost, if any are


def named(source: Any) -> str | Given:
    """Return a source's name, or what is in memory."""
    return str(source) if isinstance(source, str | os.PathLike) else Given(source)
