"""Gradients that are zero but for rounding, such as that of a bias before a softmax over time.

A softmax does not see what is added to all its inputs, so such a bias has no gradient: what either
side computes is what cancelling terms leave behind, and no two programs leave the same.
"""

from collections.abc import Collection

import numpy as np

from parity.question import Array, Arrays, Question

KINDS = ("grad.", "lossgrad.")
# Share of the largest gradient: what terms of that size leave behind in float64 when they cancel,
# one unit in the last place (2e-16) and room for sums of hundreds; measured: 1e-16.
ROUNDING_SHARE = 1e-13


def zero_but_for_rounding(question: Question, ours: Arrays, theirs: Arrays) -> list[str]:
    """Return the names of gradients that both sides compute as rounding, in float64.

    What is large is said by theirs: ours is on trial.
    """
    if question.task != "network" or question.dtype != "float64":
        return []
    found = []
    for kind in KINDS:
        names = [name for name in theirs if name.startswith(kind)]
        sizes = {name: max(_largest(ours[name]), _largest(theirs[name])) for name in names}
        limit = ROUNDING_SHARE * max((_largest(theirs[name]) for name in names), default=0.0)
        found += [name for name, size in sizes.items() if 0.0 < size < limit]
    return found


def zeroed(answer: Arrays, names: Collection[str]) -> Arrays:
    """Return an answer in which these arrays are zero."""
    return {n: np.zeros_like(a) if n in names else a for n, a in answer.items()}


def moved_by_rounding(names: Collection[str]) -> set[str]:
    """Return the arrays whose steps in a training are made of rounding."""
    return {name.removeprefix("lossgrad.") for name in names if name.startswith("lossgrad.")}


def _largest(array: Array) -> float:
    return float(np.abs(array).max(initial=0.0))
