"""Values that stay where they are stored until a batch asks for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError

Positions = NDArray[np.int64]
Rows = slice | NDArray[np.integer[Any]]
# reads so many steps (n, steps, F) of sequences at some positions, from a step of each on
Stretches = Callable[[Positions, Positions, int], NDArray[Any]]
_COPIED = 1 << 28  # bytes of an array; what is taken from a larger one stays in it


class StoredValues:
    """An (N, T, F) float32 array with zeros for padding, of which only what is indexed is read.

    Indexed by sequences alone it stays such an array if these follow each other; indexed by
    sequences and steps (``values[order, :steps]``) it becomes a NumPy array.

    Args:
        read: Returns the first so many steps (n, steps, F) of the sequences at some positions.
        shape: N, T and F.
        blocks: Positions at which what is stored together begins, and its end, where reading
            sequences from all over the place would be slow.
        start: Position of the first of the sequences.
        stretches: Reads from any step on; None where the values allow no such access.
    """

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(
        self,
        read: Callable[[Positions, int], NDArray[np.float32]],
        shape: tuple[int, int, int],
        blocks: Positions | None = None,
        start: int = 0,
        stretches: Stretches | None = None,
    ) -> None:
        self.shape = shape
        self._read, self._blocks, self._start = read, blocks, start
        self.stretches = stretches  # of all sequences: those of a part have none

    def __len__(self) -> int:
        """Return the number of sequences."""
        return self.shape[0]

    @property
    def blocks(self) -> Positions | None:
        """Where blocks begin among these sequences, and their number; None for random access."""
        if self._blocks is None:
            return None
        return np.unique(np.clip(self._blocks - self._start, 0, len(self)))

    def __getitem__(self, key: Rows | tuple[Rows, slice]) -> Any:
        """Return a part that stays stored, or the values of some sequences in memory."""
        rows, steps = key if isinstance(key, tuple) else (key, slice(None))
        if isinstance(rows, slice):
            chosen = range(*rows.indices(len(self)))
            if key is rows and chosen.step == 1:
                shape = (len(chosen), *self.shape[1:])
                return StoredValues(self._read, shape, self._blocks, self._start + chosen.start)
            rows = np.arange(chosen.start, chosen.stop, chosen.step)
        first, stop, stride = steps.indices(self.shape[1])
        return self._read(self._positions(rows), stop)[:, first::stride]

    def take(self, positions: Positions) -> "StoredValues":
        """Return the values of the sequences at some ascending positions, which stay stored."""
        blocks = self.blocks
        if blocks is not None:
            blocks = np.unique(np.searchsorted(positions, blocks))

        def read(rows: Positions, steps: int) -> NDArray[np.float32]:
            return self._read(self._positions(positions[rows]), steps)

        return StoredValues(read, (len(positions), *self.shape[1:]), blocks)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all values in memory."""
        return np.asarray(self[:, :], dtype=dtype)

    def _positions(self, rows: NDArray[np.integer[Any]]) -> Positions:
        found = np.asarray(rows, dtype=np.int64)
        if len(found) and not 0 <= found.min() <= found.max() < len(self):
            raise IndexError(f"sequences {found.min()} to {found.max()}, there are {len(self)}.")
        return found + np.int64(self._start)


def taken(values: Any, positions: Positions) -> Any:
    """Return the values of the sequences at some ascending positions; much stays where it is."""
    if isinstance(values, StoredValues):
        return values.take(positions)
    if not isinstance(values, np.memmap) and values.nbytes <= _COPIED:
        return values[positions]

    def read(rows: Positions, steps: int) -> NDArray[np.float32]:
        return np.asarray(values[positions[rows], :steps], dtype=np.float32)

    return StoredValues(read, (len(positions), *values.shape[1:]))


def stretches_of(values: Any, source: str) -> Stretches:
    """Return what reads stretches of sequences (N, T, F), wherever they begin.

    What it returns past the end of a sequence is not to be read.

    Raises:
        InputError: The values allow no such access.
    """
    if isinstance(values, StoredValues):
        if values.stretches is None:
            raise InputError(
                f"{source}: cannot be read in windows. Use a table, an array or what `grulight "
                "pack` wrote."
            )
        return values.stretches

    def read(positions: Positions, firsts: Positions, steps: int) -> NDArray[Any]:
        wanted = firsts[:, None] + np.arange(steps)
        found: NDArray[Any] = values[positions[:, None], np.minimum(wanted, values.shape[1] - 1)]
        return found

    return read
