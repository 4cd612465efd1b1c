"""Which features float32 cannot hold: those whose offset takes the digits that tell them apart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LOST = 1e-3  # of a feature's range, by which rounding may move a value unnoticed


class Digits:
    """What rounding to float32 does to each of F features, counted block by block.

    Args:
        features: F.
    """

    def __init__(self, features: int) -> None:
        self._low, self._high = np.full(features, np.inf), np.full(features, -np.inf)
        self._error = np.zeros(features)

    def add(self, exact: NDArray[np.number], rounded: NDArray[np.float32]) -> None:
        """Count values (n, F) as the source has them, and as float32."""
        with np.errstate(all="ignore"):  # numbers that are not finite are refused elsewhere
            values = exact.astype(np.float64, copy=False)
            self._low = np.fmin(self._low, np.fmin.reduce(values, axis=0))
            self._high = np.fmax(self._high, np.fmax.reduce(values, axis=0))
            moved = np.fmax.reduce(np.abs(values - rounded), axis=0)
            self._error = np.fmax(self._error, moved)

    def notes(self, source: str, names: Sequence[str]) -> tuple[str, ...]:
        """Return a line that names the features that lose what tells their values apart."""
        with np.errstate(all="ignore"):
            spread = self._high - self._low
            lost = np.flatnonzero(np.isfinite(spread) & (spread > 0))
            lost = lost[self._error[lost] > _LOST * spread[lost]]
        if not len(lost):
            return ()
        first = int(lost[0])
        more = f" ({len(lost)} such features)" if len(lost) > 1 else ""
        return (
            f"{source}: feature {names[first]!r} loses digits in float32, in which sequences are "
            f"held: its values, from {self._low[first]:.12g} to {self._high[first]:.12g}, are moved"
            f" by up to {self._error[first]:.2g}{more}. Subtract an offset before, such as its "
            "first value.",
        )
