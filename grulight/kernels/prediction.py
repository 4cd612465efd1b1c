"""Arrays in, class probabilities out: a GRUNet of one layer in one direction in one call."""

from collections.abc import Sequence

import numpy as np

from grulight.kernels.reference import Array
from grulight.kernels.threads import share

BLOCK = 256  # sequences that a thread is handed at least


class Predictor:
    """Tell class probabilities, a sequence's the same bits in any batch.

    Args:
        parameters: Those of the GRUNet in its order, float32 or float64; they are not copied.
        mean: Taken off each feature first (feature,), or None for no standardisation.
        scale: Divided by then (feature,), or None likewise.
    """

    def __init__(
        self, parameters: Sequence[Array], mean: Array | None = None, scale: Array | None = None
    ) -> None:
        from grulight.kernels import numba_network

        self._predict = numba_network.predict
        w_ih, w_hh, *biases, weight, bias = map(np.ascontiguousarray, parameters)
        self._kind, none = w_ih.dtype, np.empty(0, w_ih.dtype)
        self._weights = w_ih, w_hh, *(biases or (none, none)), weight, bias
        self._standard = [none if a is None else a.astype(self._kind) for a in (mean, scale)]
        self._every = np.empty(0, np.int64)
        self._cost = w_ih.size + w_hh.size

    def __call__(self, values: Array, lengths: Array | None = None) -> Array:
        """Return probabilities (batch, class) of padded sequences (batch, time, feature).

        ``lengths`` (batch,) counts the valid steps, at least one, which come first; None means all
        are valid. One logit tells two classes apart.

        Raises:
            ValueError: Values or lengths do not fit.
        """
        values = np.ascontiguousarray(values, self._kind)
        features = self._weights[0].shape[1]
        if values.ndim != 3 or values.shape[2] != features or not values.shape[1]:
            raise ValueError(f"values {values.shape}: expected (batch, time, {features}).")
        batch, steps, _ = values.shape
        lens = self._every if lengths is None else np.ascontiguousarray(lengths, np.int64)
        if lengths is not None and (
            lens.shape != (batch,) or (batch and not 1 <= lens.min() <= lens.max() <= steps)
        ):
            raise ValueError(f"lengths: expected {batch} numbers from 1 to {steps}.")
        found = np.empty((batch, max(2, len(self._weights[-1]))), self._kind)

        def work(start: int, stop: int) -> None:
            part = slice(start * BLOCK, stop * BLOCK)
            self._predict(values[part], lens[part], *self._standard, *self._weights, found[part])

        share(work, -(-batch // BLOCK), batch * steps * self._cost)
        return found
