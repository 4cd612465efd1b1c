"""Arrays of the file by layer and name, each read when it is asked for."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from grulight.keras_files.plan.variables import Array
from grulight.keras_files.reader.hdf5 import Stored

Placed = dict[str, Any]  # as Variables, with a Stored in place of each Variable


class LazyArrays(Mapping[str, Any]):
    """Arrays read from the file when they are asked for, one at a time."""

    def __init__(self, placed: Placed) -> None:
        self._placed = placed

    def __getitem__(self, name: str) -> "Array | LazyArrays":
        """Read one array, or return those one level deeper."""
        held = self._placed[name]
        return held.read() if isinstance(held, Stored) else LazyArrays(held)

    def __contains__(self, name: object) -> bool:
        return name in self._placed  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._placed)

    def __len__(self) -> int:
        return len(self._placed)

    def shapes(self) -> dict[str, Any]:
        """Return the shapes in place of the arrays."""
        return {
            name: list(held.shape) if isinstance(held, Stored) else LazyArrays(held).shapes()
            for name, held in self._placed.items()
        }

    def shared(self) -> list[str]:
        """Return the groups of the file whose arrays several layers take."""
        takers = Counter(stored.name for stored in flat_stored(self._placed))
        return sorted({name.partition("/vars/")[0] for name, n in takers.items() if n > 1})

    def dtype(self) -> str:
        """Return the type that holds every array without loss."""
        doubles = (
            stored.dtype is not None and stored.dtype.itemsize == 8
            for stored in flat_stored(self._placed)
        )
        return "float64" if any(doubles) else "float32"


def flat_stored(placed: Placed) -> Iterator[Stored]:
    """Yield the arrays of all depths, in order."""
    for held in placed.values():
        if isinstance(held, dict):
            yield from flat_stored(held)
        else:
            yield held
