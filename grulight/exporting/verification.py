"""What an exported model must answer: the checkpoint's own answers, on batches of every kind."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from grulight.errors import InputError
from grulight.exporting.inputs import Array, Trial
from grulight.exporting.subject import Subject
from grulight.exporting.trials import edges, trials

# Float64 decides whether two programs compute the same function, as in parity/tolerances.py.
FLOAT64_BOUND = 1e-12

# Float32 is judged by the checkpoint's own rounding, its distance from the same network in
# float64, batch by batch. Both programs round, apart from each other: 36 exports of 12 networks
# (1 to 128 units, one and two layers, one to ten outputs) measured at most 1.8 of it. Eight is
# what parity/tolerances.py allows.
ROUNDINGS = 8.0

# Of the size of an answer. Where float32 knows less, the comparison would tell nothing.
LARGEST_BOUND = 1e-2

REASON = 240  # characters of an exporter's reason that are shown


class Written(NamedTuple):
    """A file that was written and opened again.

    Attributes:
        ask: Returns the opened model's answers to a batch.
        opened: The format, and what opened it.
        contents: What it is made of.
    """

    ask: Callable[[Trial], list[Array]]
    opened: str
    contents: str


@dataclass(frozen=True)
class Verdict:
    """What a verification found.

    Attributes:
        difference: Largest difference of an answer from the checkpoint's.
        bound: The largest that rounding explains.
        sequences: How many random sequences were compared.
        sizes: Their batches: sequences and steps of each.
        edges: The batches at the edge, in words.
    """

    difference: float
    bound: float
    sequences: int
    sizes: tuple[tuple[int, int], ...]
    edges: tuple[str, ...]


def verify(subject: Subject, ask: Callable[[Trial], list[Array]]) -> Verdict:
    """Compare an exported model's answers with the checkpoint's.

    Raises:
        InputError: They differ by more than rounding, or the checkpoint answers nothing finite.
    """
    exact, random, edge = subject.in_float64(), trials(subject), edges(subject)
    asked = [subject.answers(trial) for trial in random.values()]
    if not all(np.isfinite(answer).any() for answers in asked for answer in answers):
        raise InputError("the checkpoint's answers are not finite, so nothing can be compared.")
    found = [_compared(subject, exact, each, ask) for each in random.values()]
    for each in edge.values():
        _compared(subject, exact, each, ask)
    differences, bounds = zip(*found, strict=True)
    sequences = sum(count for count, _ in random)
    return Verdict(max(differences), max(bounds), sequences, tuple(random), tuple(edge))


def _compared(
    subject: Subject, exact: Subject, trial: Trial, ask: Callable[[Trial], list[Array]]
) -> tuple[float, float]:
    """Return the largest difference of a batch, measured by its bound, and that bound."""
    ours, theirs = subject.answers(trial), ask(trial)
    floor = exact.answers(trial, torch.float64)
    return require_same(ours, floor, theirs)


def require_same(
    ours: list[Array], other_precision: list[Array], theirs: list[Array]
) -> tuple[float, float]:
    """Compare a batch's answers output by output; return the worst difference and its bound.

    Where both sides have the same NaN or infinity there is no number to compare, as where Keras
    takes the mean of a sequence that is masked throughout.

    Raises:
        InputError: They differ by more than rounding.
    """
    found = []
    for our, other, their in zip(ours, other_precision, theirs, strict=True):
        none = ~np.isfinite(our)
        if none.any() and our.shape == their.shape:
            none &= np.isclose(our, their, equal_nan=True)
            our, other, their = (np.where(none, 0, each) for each in (our, other, their))
        difference, bound = distance(our, their), bound_of(our, distance(our, other))
        require_close(difference, bound)
        found.append((difference, bound))
    return max(found, key=lambda pair: (pair[0] / pair[1], pair[1]))


def bound_of(answer: Array, rounding: float) -> float:
    """Return how far equal programs may be apart in the precision of an answer.

    Args:
        answer: The checkpoint's; numbers above one are as many times coarser.
        rounding: How far float32 takes it from float64, which also tells how much the network
            amplifies; in float64 it is smaller by the ratio of the precisions.
    """
    eps, single = float(np.finfo(answer.dtype).eps), float(np.finfo(np.float32).eps)
    size = float(np.abs(answer).max(initial=1.0))
    bound = max(FLOAT64_BOUND * size, ROUNDINGS * eps * max(size, rounding / single))
    return min(bound, LARGEST_BOUND * size)


def require_close(difference: float, bound: float) -> None:
    """Refuse a model that differs from the checkpoint by more than rounding.

    Raises:
        InputError: It does.
    """
    if not difference <= bound < np.inf:
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
