"""Which features float32 cannot hold: those whose offset takes the digits that tell them apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.offsets import Offset
from grulight.errors import option

_LOST = 1e-3  # of a feature's range, by which rounding may move a value unnoticed


def as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values as float32 in C order; those out of its range become infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values, dtype=np.float32, order="C")


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

    def _lost(self) -> NDArray[np.intp]:
        with np.errstate(all="ignore"):
            spread = self._high - self._low
            moving = np.flatnonzero(np.isfinite(spread) & (spread > 0))
            lost: NDArray[np.intp] = moving[self._error[moving] > _LOST * spread[moving]]
        return lost

    def offset(self) -> Offset | None:
        """Return what to subtract from each feature so that none loses digits; None for nothing."""
        lost = self._lost()
        if not len(lost):
            return None
        found = np.zeros(len(self._low))
        found[lost] = self._low[lost] + (self._high[lost] - self._low[lost]) / 2
        return tuple(found.tolist())

    def notes(self, source: str, names: Sequence[str]) -> tuple[str, ...]:
        """Return a line that names the features that lose what tells their values apart."""
        lost = self._lost()
        if not len(lost):
            return ()
        first = int(lost[0])
        more = f" ({len(lost)} such features)" if len(lost) > 1 else ""
        return (
            f"{source}: feature {names[first]!r} loses digits in float32, in which sequences are "
            f"held: its values, from {self._low[first]:.12g} to {self._high[first]:.12g}, are moved"
            f" by up to {self._error[first]:.2g}{more}. Training on this very source with "
            f"{option('data.standardize', True)} subtracts an offset first; else subtract one "
            "before.",
        )

    def value_notes(self, source: str, what: str) -> tuple[str, ...]:
        """Return a line where values that are learned lose what tells them apart."""
        found = self.offset()
        if found is None:
            return ()
        first = int(self._lost()[0])
        return (
            f"{source}: {what} lose digits in float32, in which what is learned is held: those "
            f"from {self._low[first]:.12g} to {self._high[first]:.12g} are moved by up to "
            f"{self._error[first]:.2g}. Subtract a constant from them first, such as "
            f"{found[first]:.12g}, or use SequenceRegressor from Python, which does.",
        )
