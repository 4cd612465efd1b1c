"""What an exported model must answer: the checkpoint's own predictions, on random sequences."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from grulight.data.batches import Batch
from grulight.errors import InputError
from grulight.training.classifier import GRUClassifier

Array = NDArray[Any]

# Sequences and steps of each trial, none of them the sizes that the exporter traces.
SIZES = ((1, 1), (2, 3), (33, 8), (5, 40))

# Float64 decides whether two programs compute the same function, as in parity/tolerances.py.
FLOAT64_BOUND = 1e-12

# Float32 is judged by the checkpoint's own rounding, its distance from the same network in
# float64, batch by batch. Both programs round, apart from each other: 36 exports of 12 networks
# (1 to 128 units, one and two layers, one to ten outputs) measured at most 1.8 of it. Eight is
# what parity/tolerances.py allows.
ROUNDINGS = 8.0

REASON = 240  # characters of an exporter's reason that are shown


class Trial(NamedTuple):
    """A batch to try: raw values (batch, time, feature) and, for padded ones, lengths (batch,)."""

    values: Array
    lengths: Array | None

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The arrays that are there."""
        return (self.values,) if self.lengths is None else (self.values, self.lengths)


class Written(NamedTuple):
    """A file that was written and opened again.

    Attributes:
        ask: Returns the opened model's answer to a trial.
        opened: The format, and what opened it.
        contents: What it is made of.
    """

    ask: Callable[[Trial], Array]
    opened: str
    contents: str


@dataclass(frozen=True)
class Verdict:
    """What a verification found.

    Attributes:
        difference: Largest difference of a probability from the checkpoint's.
        bound: The largest that rounding explains.
        sequences: How many sequences were compared.
        sizes: The batches: sequences and steps of each.
    """

    difference: float
    bound: float
    sequences: int
    sizes: tuple[tuple[int, int], ...]


def trials(
    features: int,
    steps: int | None,
    *,
    lengths: bool = False,
    zeros: bool = False,
    mean: Array | float = 0.0,
    scale: Array | float = 1.0,
) -> list[Trial]:
    """Return random batches that look like the training data.

    Args:
        features: How many there are.
        steps: The only number of steps that the model takes, or None for any.
        lengths: Whether the batches are padded and say so.
        zeros: Whether to end sequences with zeros, which a Masking layer skips.
        mean: Mean of each feature.
        scale: Standard deviation of each feature.
    """
    rng = np.random.default_rng(0)
    found = []
    for count, time in dict.fromkeys((count, steps or time) for count, time in SIZES):
        values = (rng.normal(size=(count, time, features)) * scale + mean).astype(np.float32)
        valid = rng.integers(1, time + 1, count)
        if zeros:
            values[np.arange(time) >= valid[:, None]] = 0
        found.append(Trial(values, valid if lengths else None))
    return found


def predictions(
    classifier: GRUClassifier, trial: Trial, dtype: torch.dtype = torch.float32
) -> Array:
    """Return the probabilities (batch, class) that the checkpoint predicts."""
    lengths = None if trial.lengths is None else torch.from_numpy(trial.lengths)
    with torch.no_grad():
        batch = Batch(torch.from_numpy(trial.values).to(dtype), lengths, None)
        return classifier.predict_step(batch).numpy()


def verify(
    classifier: GRUClassifier, tried: Sequence[Trial], ask: Callable[[Trial], Array]
) -> Verdict:
    """Compare an exported model's answers with the checkpoint's.

    Raises:
        InputError: They differ by more than rounding.
    """
    exact = copy.deepcopy(classifier).double()
    differences, bounds = [], []
    for trial in tried:
        ours = predictions(classifier, trial)
        rounding = distance(ours, predictions(exact, trial, torch.float64))
        differences.append(distance(ours, ask(trial)))
        bounds.append(bound_of(rounding, ours.dtype))
        require_close(differences[-1], bounds[-1])
    sizes = tuple((trial.values.shape[0], trial.values.shape[1]) for trial in tried)
    return Verdict(max(differences), max(bounds), sum(count for count, _ in sizes), sizes)


def bound_of(rounding: float, dtype: np.dtype[Any]) -> float:
    """Return how far equal programs may be apart in a precision.

    Args:
        rounding: How far float32 takes the checkpoint from float64, which also tells how much
            the network amplifies; in float64 it is smaller by the ratio of the precisions.
        dtype: The precision.
    """
    eps, single = float(np.finfo(dtype).eps), float(np.finfo(np.float32).eps)
    return max(FLOAT64_BOUND, ROUNDINGS * eps * max(1.0, rounding / single))


def require_close(difference: float, bound: float) -> None:
    """Refuse a model that differs from the checkpoint by more than rounding.

    Raises:
        InputError: It does.
    """
    if not difference <= bound:
        raise InputError(
            f"the exported model differs from the checkpoint by {difference:.1e}, where rounding "
            f"explains {bound:.1e}; nothing was written. Choose another format."
        )


def distance(ours: Array, theirs: Array) -> float:
    """Return the largest difference of two arrays; NaN or another shape is infinitely far."""
    if ours.shape != theirs.shape:
        return float("inf")
    largest = np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max()
    return float("inf") if np.isnan(largest) else float(largest)


@contextmanager
def one_line(refusal: str) -> Iterator[None]:
    """Turn whatever an exporter raises into an :class:`InputError`: the refusal and its reason."""
    try:
        yield
    except InputError:
        raise
    # exporters meet what they cannot express with any of a dozen exception types
    except Exception as error:
        reason = " ".join(str(error).split())
        cut = f"{reason[:REASON]} …" if len(reason) > REASON else reason
        raise InputError(f"{refusal} ({type(error).__name__}: {cut}).") from error


@contextmanager
def without_advice() -> Iterator[None]:
    """Silence libraries' advice, which is on speed and on their own deprecated parts."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
