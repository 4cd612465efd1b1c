"""Arrays in, predictions out: a GRUNet of one layer in one direction in one call."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from grulight.kernels import gate
from grulight.kernels.compiled import predict
from grulight.kernels.reference import Array
from grulight.kernels.sizes import room_to_pack
from grulight.kernels.steps import ANSWERS, Answer
from grulight.kernels.threads import count, share

FEW = 256  # sequences that are not worth a second thread, unless each takes long
LEAST = 32  # sequences of a thread: with fewer, weights are read more often than they are used
MOST = 1024  # sequences in a call: what is computed between should stay in the cache
LONG = 200_000  # multiplications of a sequence that takes long


class Predictor:
    """Tell probabilities or values, a sequence's the same bits in any batch.

    Args:
        parameters: Those of the GRUNet in its order, float32 or float64, C-contiguous. They are
            not copied: what is changed in place counts from then on.
        mean: Taken off each feature first (feature,), or None for no standardisation.
        scale: Divided by then (feature,), or None likewise.
        answer: What the network answers.
        per_step: Whether it answers for each step.
        units: Mean and scale (value,) that undo the scaling of values; None for none.

    Raises:
        InputError: The arrays are no such network, or do not standardise.
    """

    def __init__(
        self,
        parameters: Sequence[Array],
        mean: Array | None = None,
        scale: Array | None = None,
        answer: Answer = "classes",
        per_step: bool = False,
        units: tuple[Array, Array] | None = None,
    ) -> None:
        classes = answer == "classes"
        w_ih, w_hh, *biases, weight, bias = gate.network(parameters, classes=classes)
        kind = w_ih.dtype
        standard = gate.statistics(mean, scale, w_ih.shape[1], kind)
        unit_mean, unit_scale = units or (None, None)
        back = gate.statistics(unit_mean, unit_scale, len(bias), kind)
        self._arrays = *standard, w_ih, w_hh, *(biases or (None, None)), weight, bias, *back
        self._kind, self._features = kind, w_ih.shape[1]
        self._columns = max(2, len(bias)) if classes else len(bias)
        self._per_step = per_step
        self._task = w_hh.shape[1], ANSWERS.index(answer), per_step
        self._room = room_to_pack(self._features, w_hh.shape[1], kind.itemsize)
        self._kept, self._alone = self._fresh(), Lock()
        self._places = self._addresses(self._kept)
        self._every = np.empty(0, np.int64)
        like = np.empty((0, 0, 0), kind), self._every, self._places, *self._task
        self._predict = predict.like(*like, np.empty((0, 0), kind))
        self._cost = w_ih.size + w_hh.size

    def __call__(self, values: Any, lengths: Any = None) -> Array:
        """Return predictions (batch, class or value) for padded sequences (batch, time, feature).

        ``lengths`` (batch,) counts the valid steps, at least one, which come first; None means all
        are valid. Per step they are (batch, time, class or value), and mean nothing in padding. One
        logit tells two classes apart. Nothing is written to either.

        Raises:
            InputError: Values or lengths do not fit.
        """
        values, kind = gate.sequences(values, self._features), self._kind
        batch, steps, _ = values.shape
        each = steps if self._per_step else 1
        found = np.empty((batch * each, self._columns), kind)
        lens = self._every
        if lengths is not None:
            lens = gate.whole("lengths", lengths, batch, 1, steps)
        cost = batch * steps * self._cost
        unit = LEAST if steps * self._cost >= LONG else FEW
        units = -(-batch // unit)
        if batch <= FEW and (unit == FEW or count(units, cost) < 2):
            with self._alone:  # it may pack the weights anew
                self._predict(gate.ready(values, kind), lens, self._places, *self._task, found)
            return self._shaped(found, steps)

        def work(start: int, stop: int) -> None:
            kept = self._fresh()
            places = self._addresses(kept)
            for at in range(start * unit, stop * unit, MOST):
                part = slice(at, min(at + MOST, stop * unit, batch))
                some = gate.ready(values[part], kind)
                rows = slice(part.start * each, part.stop * each)
                self._predict(some, lens[part], places, *self._task, found[rows])

        share(work, units, cost)
        return self._shaped(found, steps)

    def _shaped(self, found: Array, steps: int) -> Array:
        return found.reshape(-1, steps, self._columns) if self._per_step else found

    def _fresh(self) -> Array:
        """Return room for packed weights."""
        return np.zeros(self._room, self._kind)

    def _addresses(self, kept: Array) -> Array:
        arrays = (*self._arrays, kept)
        return np.array([0 if array is None else array.ctypes.data for array in arrays])
