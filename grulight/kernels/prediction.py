"""Arrays in, class probabilities out: a GRUNet of one layer in one direction in one call."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from grulight.kernels import gate
from grulight.kernels.reference import Array
from grulight.kernels.threads import share

FEW = 256  # sequences that are not worth a second thread
BLOCK = 4  # times as many in a call: what is computed between should stay in the cache


class Predictor:
    """Tell class probabilities, a sequence's the same bits in any batch.

    Args:
        parameters: Those of the GRUNet in its order, float32 or float64, C-contiguous. They are
            not copied: what is changed in place counts from then on.
        mean: Taken off each feature first (feature,), or None for no standardisation.
        scale: Divided by then (feature,), or None likewise.

    Raises:
        InputError: The arrays are no such network, or do not standardise.
    """

    def __init__(
        self, parameters: Sequence[Array], mean: Array | None = None, scale: Array | None = None
    ) -> None:
        from grulight.kernels import numba_network

        self._predict = numba_network.predict
        w_ih, w_hh, *biases, weight, bias = gate.network(parameters)
        kind = w_ih.dtype
        standard = gate.statistics(mean, scale, w_ih.shape[1], kind)
        self._arrays = *standard, w_ih, w_hh, *(biases or (None, None)), weight, bias
        self._kind, self._features, self._classes = kind, w_ih.shape[1], max(2, len(bias))
        self._sizes = w_hh.shape[1], self._classes
        self._room = numba_network.room_to_pack(self._features, w_hh.shape[1], kind.itemsize)
        self._kept, self._alone = self._fresh(), Lock()
        self._places = self._addresses(self._kept)
        self._every = np.empty(0, np.int64)
        self._cost = w_ih.size + w_hh.size

    def __call__(self, values: Any, lengths: Any = None) -> Array:
        """Return probabilities (batch, class) of padded sequences (batch, time, feature).

        ``lengths`` (batch,) counts the valid steps, at least one, which come first; None means all
        are valid. One logit tells two classes apart. Nothing is written to either.

        Raises:
            InputError: Values or lengths do not fit.
        """
        values, kind = gate.sequences(values, self._features), self._kind
        batch, steps, _ = values.shape
        found = np.empty((batch, self._classes), kind)
        lens = self._every
        if lengths is not None:
            lens = gate.whole("lengths", lengths, batch, 1, steps)
        if batch <= FEW:
            with self._alone:  # it may pack the weights anew
                self._predict(gate.ready(values, kind), lens, self._places, *self._sizes, found)
            return found

        def work(start: int, stop: int) -> None:
            kept = self._fresh()
            places = self._addresses(kept)
            for at in range(start, stop, BLOCK):
                part = slice(at * FEW, min(at + BLOCK, stop) * FEW)
                some = gate.ready(values[part], kind)
                self._predict(some, lens[part], places, *self._sizes, found[part])

        share(work, -(-batch // FEW), batch * steps * self._cost)
        return found

    def _fresh(self) -> Array:
        """Return room for packed weights."""
        return np.zeros(self._room, self._kind)

    def _addresses(self, kept: Array) -> Array:
        arrays = (*self._arrays, kept)
        return np.array([0 if array is None else array.ctypes.data for array in arrays])
