"""Which sequences are held out, and in which fold each is: by position, class or group."""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from grulight.data.sequences import Sequences
from grulight.errors import InputError, option

SplitBy = Literal["positional", "shuffled", "stratified", "group"]
_MOST_COUNTS = 1 << 24  # of groups times classes; with more, groups are dealt by their sizes
_Codes = NDArray[np.integer[Any]]


def divided(
    sequences: Sequences, kept: int, by: SplitBy, seed: tuple[int, int]
) -> tuple[Sequences, Sequences]:
    """Split sequences in two, each in the order of the source.

    Args:
        sequences: What is split.
        kept: How many the first part gets; with whole groups about as many.
        by: ``positional`` gives it the first ones, ``shuffled`` random ones, ``stratified`` its
            share of each class, give or take one sequence, and ``group`` whole groups that
            together have about its share of the sequences, and of each class.
        seed: Of the drawing.

    Raises:
        InputError: They have no single class each, or no groups that could be told apart.
    """
    if by == "positional" or kept in (0, len(sequences)):
        return sequences.part(0, kept), sequences.part(kept, len(sequences))
    generator = np.random.default_rng(seed)
    held_out = len(sequences) - kept
    if by == "group":
        shares = np.array([kept, held_out]) / len(sequences)
        second = _dealt_groups(_groups(sequences, 2), _classes(sequences), shares, generator) == 1
    else:
        if by == "stratified" and _classes(sequences) is None:
            raise InputError(
                f"{option('data.split', 'stratified')}: needs one class per sequence, which "
                f"{sequences.source} does not have. Choose shuffled."
            )
        order = _order(_classes(sequences) if by == "stratified" else None, sequences, generator)
        counted = np.arange(len(order) + 1) * held_out // len(order)
        second = np.zeros(len(order), bool)
        second[order[np.diff(counted) > 0]] = True  # evenly spaced, and so from each class
    return sequences.take(np.flatnonzero(~second)), sequences.take(np.flatnonzero(second))


def number_of(size: float, total: int, name: str, things: str = "sequences") -> int:
    """Return how many sequences, or other things, a share (up to 1) or a number of them is.

    Raises:
        InputError: It is neither.
    """
    count = 0 if not math.isfinite(size) else round(size * total) if size <= 1 else int(size)
    if not 0 <= size < math.inf or count > total or (size > 1 and size != count):
        raise InputError(
            f"{option(f'data.{name}', size)}: expected a share from 0 to 1 or a whole number of "
            f"{things} up to {total}."
        )
    return count


def fold_numbers(sequences: Sequences, count: int, seed: int) -> NDArray[np.int64]:
    """Return the fold (N,) in which each sequence is held out, at random.

    Where each sequence has one class, every fold has its share of each class; where they have
    groups, each group is in one fold.

    Raises:
        InputError: There are fewer groups than folds.
    """
    generator = np.random.default_rng(seed)
    classes = _classes(sequences)
    if sequences.groups is not None:
        groups = _groups(sequences, count)
        return _dealt_groups(groups, classes, np.full(count, 1 / count), generator)
    folds = np.zeros(len(sequences), np.int64)
    folds[_order(classes, sequences, generator)] = np.arange(len(sequences)) % count
    return folds


def _classes(sequences: Sequences) -> _Codes | None:
    """Return the class (N,) of each sequence, counted from 0; None where each has not one."""
    if sequences.labels is None or sequences.has_values or sequences.per_step:
        return None
    codes: _Codes = np.unique(sequences.labels, return_inverse=True)[1].reshape(-1)
    return codes


def _groups(sequences: Sequences, least: int) -> _Codes:
    if sequences.groups is None:
        raise InputError(
            f"{option('data.split', 'group')}: {sequences.source} names no groups. Name their "
            f"column by {option('data.group')}, or put them into an .npz as groups (N,)."
        )
    names, codes = np.unique(sequences.groups, return_inverse=True)
    if len(names) < least:
        raise InputError(
            f"{sequences.source}: has {len(names)} groups to be kept whole, expected at least "
            f"{least}, one for each part or fold."
        )
    return codes.reshape(-1)


def _order(
    classes: _Codes | None, sequences: Sequences, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return a random order of the sequences in which those of a class follow each other."""
    order = generator.permutation(len(sequences))
    if classes is None:
        return order
    ranks = generator.permutation(int(classes.max()) + 1)
    return order[np.argsort(ranks[classes[order]], kind="stable")]


def _dealt_groups(
    groups: _Codes,
    classes: _Codes | None,
    shares: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Return the part (N,) that each sequence's group goes to; none stays empty.

    The largest group first, each goes where it leaves the parts filled most evenly with the
    sequences of each class, as in scikit-learn's ``StratifiedGroupKFold``.

    Args:
        groups: (N,) of the sequences.
        classes: (N,) likewise; None where their numbers alone count.
        shares: (P,) of the sequences that each part should get.
        generator: Draws which of groups of one size comes first.
    """
    count = int(groups.max()) + 1
    kinds = 1 if classes is None else int(classes.max()) + 1
    if classes is None or count * kinds > _MOST_COUNTS:
        classes, kinds = np.zeros_like(groups), 1
    sizes = np.zeros((count, kinds))
    np.add.at(sizes, (groups, classes), 1)
    wanted = shares[:, None] * sizes.sum(axis=0)
    order = generator.permutation(count)
    order = order[np.argsort(-sizes[order].sum(axis=1), kind="stable")]
    parts, filled = np.zeros(count, np.int64), np.zeros_like(wanted)
    one = np.eye(len(shares))[:, :, None]
    for left, group in zip(range(count, 0, -1), order.tolist(), strict=True):
        uneven = ((filled + one * sizes[group]) / wanted).std(axis=1).mean(axis=1)
        empty = filled.sum(axis=1) == 0
        if empty.sum() == left:
            uneven[~empty] = np.inf
        parts[group] = at = int(uneven.argmin())
        filled[at] += sizes[group]
    return parts[groups]
