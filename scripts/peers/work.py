"""What every peer is given: sequences, labels and first weights, in one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CHECKED = 32  # sequences whose outputs and gradients are checked before anything is timed


@dataclass(frozen=True)
class Work:
    """A training set, a test set, and the weights of GRU(hidden) -> Dense(classes).

    Attributes:
        x: Training sequences (sequences, steps, features), float32.
        y: Their labels (sequences,), int64.
        x_test: Test sequences.
        y_test: Their labels.
        weights: Under the names of ``grulight.GRUNet``'s ``state_dict``, float32.
        batch: Sequences per optimiser step.
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    weights: dict[str, Array]
    batch: int

    @property
    def hidden(self) -> int:
        """Units of the GRU."""
        return int(self.weights["gru.weight_hh_l0"].shape[1])

    @property
    def classes(self) -> int:
        """Classes that are told apart."""
        return len(self.weights["head.bias"])

    def sequences(self, count: int) -> Array:
        """Return so many sequences, the training set over and over."""
        return np.resize(self.x, (count, *self.x.shape[1:]))


def draw(
    sequences: int = 800,
    steps: int = 10,
    hidden: int = 16,
    batch: int = 32,
    distinct: int = 800,
    features: int = 5,
) -> Work:
    """Draw the work of ``grulight fit``, or of another size; the same sizes give the same work.

    Args:
        sequences: Training sequences.
        steps: Time steps of each.
        hidden: Units of the GRU.
        batch: Sequences per optimiser step.
        distinct: How many of the sequences differ; the rest repeats them.
        features: Numbers of each time step; more than the five that are drawn repeat these.
    """
    from grulight.data.waves import waves
    from parity.cases import Case
    from parity.question import Network

    drawn = waves(distinct + 200, steps)
    values = drawn.values[:, :, np.arange(features) % drawn.values.shape[2]]
    weights = Case("benchmark", Network(features, 3, hidden)).weights()
    x, y = values[:distinct], drawn.labels[:distinct]
    return Work(
        np.resize(x, (sequences, *x.shape[1:])),
        np.resize(y, sequences),
        values[distinct:],
        drawn.labels[distinct:],
        {name: array.astype(np.float32) for name, array in weights.items()},
        batch,
    )


def save(work: Work, path: Path) -> None:
    """Write work for :func:`load`; sequences that repeat are written once."""
    distinct = min(len(work.x), 800)
    arrays = {"x": work.x[:distinct], "y": work.y[:distinct]}
    sizes = np.array([len(work.x), work.batch])
    np.savez(path, x_test=work.x_test, y_test=work.y_test, sizes=sizes, **arrays, **work.weights)


def load(path: str | Path) -> Work:
    """Read what :func:`save` wrote."""
    with np.load(path) as file:
        arrays = dict(file)
    sequences, batch = map(int, arrays.pop("sizes"))
    x, y, x_test, y_test = (arrays.pop(name) for name in ("x", "y", "x_test", "y_test"))
    whole = np.resize(x, (sequences, *x.shape[1:]))
    return Work(whole, np.resize(y, sequences), x_test, y_test, arrays, batch)
