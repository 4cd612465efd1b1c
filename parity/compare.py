"""Compare two sets of arrays; return evidence, forgive nothing.

Different names, dtypes or shapes raise, and so does an empty array, because a comparison of
nothing would pass. NaN or infinity on either side is an infinite difference. The largest element
decides; nothing is averaged, transposed or rounded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.keras_files.layers.layout import KERAS_GATES, TORCH_GATES

Array = NDArray[Any]

# What the axes of an answer mean, by the start of its name; parameters are added behind.
AXES = (
    (r"hidden\.", ("sequence", "time step", "unit")),
    (r"last\.", ("sequence", "unit")),
    (r"(logits|probabilities|slope\.)", ("sequence", "label")),
    (r"\w+\.values$", ("sequence", "time step", "feature")),
    (r"\w+\.h0$", ("state", "sequence", "unit")),
    (r"train\.loss", ("batch",)),
    (r"train\.", ("snapshot",)),
    (r"step\.", ("snapshot",)),
)


class Incomparable(ValueError):
    """Two sets of arrays that do not even have the same names, dtypes and shapes."""


@dataclass(frozen=True)
class Difference:
    """How far two arrays are apart, and where most.

    Attributes:
        tensor: Name of the arrays.
        relative: Largest difference as a share of ``scale``; infinite where not finite.
        absolute: Largest difference.
        scale: Largest magnitude in ``theirs``.
        index: Where the largest difference is.
        ours: Our value there.
        theirs: Their value there.
        where: The index in words: time step, gate, unit.
    """

    tensor: str
    relative: float
    absolute: float
    scale: float
    index: tuple[int, ...]
    ours: float
    theirs: float
    where: str

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return (
            f"{self.tensor}{place}: ours {self.ours!r}, theirs {self.theirs!r}, "
            f"relative difference {self.relative:.1e}"
        )


def compare(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> list[Difference]:
    """Return the largest difference of every array.

    Differences are relative to the largest magnitude of the array, as is usual for rounding
    errors of sums (Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 3): an
    element that happens to cancel to almost zero carries the errors of its large terms.

    Raises:
        Incomparable: The names, a dtype or a shape differ, or there is nothing to compare.
    """
    if not theirs:
        raise Incomparable("Nothing to compare: theirs has no arrays.")
    if ours.keys() != theirs.keys():
        missing, extra = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
        raise Incomparable(f"Different names: ours lacks {missing} and has {extra} besides.")
    return [_difference(name, ours[name], theirs[name]) for name in theirs]


def apart(ours: Array, theirs: Array) -> Array:
    """Return the elementwise distance; infinite wherever either side is not finite."""
    with np.errstate(all="ignore"):
        distance = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    return np.where(np.isfinite(distance), distance, np.inf)


def _difference(name: str, ours: Array, theirs: Array) -> Difference:
    if ours.dtype != theirs.dtype:
        raise Incomparable(f"{name}: ours is {ours.dtype}, theirs is {theirs.dtype}.")
    if ours.shape != theirs.shape:
        raise Incomparable(f"{name}: ours has shape {ours.shape}, theirs {theirs.shape}.")
    if theirs.size == 0:
        raise Incomparable(f"{name}: is empty, shape {theirs.shape}.")
    distance = apart(ours, theirs)
    # where one side alone has a number, the two differ whatever else there is: shown first
    alone = np.isfinite(ours) != np.isfinite(theirs)
    place = alone.argmax() if alone.any() else distance.argmax()
    index = tuple(int(i) for i in np.unravel_index(place, distance.shape))
    finite = np.abs(theirs[np.isfinite(theirs)])
    scale = float(finite.max()) if finite.size else 0.0
    absolute = float(distance[index])
    if scale > 0.0 and np.isfinite(absolute):
        relative = absolute / scale
    else:
        relative = np.inf if absolute else 0.0
    return Difference(
        name,
        relative,
        absolute,
        scale,
        index,
        float(ours[index]),
        float(theirs[index]),
        locate(name, index, theirs.shape),
    )


def locate(name: str, index: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Put an index into words, such as "sequence 3, time step 5, unit 2"."""
    axes = next((axes for pattern, axes in AXES if re.match(pattern, name)), ())
    words = [f"{axis} {i}" for axis, i in zip(axes, index, strict=False)]
    rest, sizes = index[len(axes) :], shape[len(axes) :]
    if rest and (gated := re.search(r"(weight|bias)_[ih]h|ward/\w+$", name)):
        # torch stacks gates in rows, Keras in columns
        foreign = "/" in gated.string
        axis = len(rest) - 1 if foreign else 0
        gates = KERAS_GATES if foreign else TORCH_GATES
        if sizes[axis] % 3 == 0:
            gate, unit = divmod(rest[axis], sizes[axis] // 3)
            words.append(f"gate {gates[gate]}, unit {unit}")
            rest = rest[:axis] + rest[axis + 1 :]
    if rest:
        words.append(f"index {', '.join(map(str, rest))}")
    return ", ".join(words)


def first_step_beyond(ours: Array, theirs: Array, bound: float) -> int | None:
    """Return the first time step (axis 1) whose difference exceeds ``bound`` times the scale."""
    profile = step_profile(ours, theirs)
    beyond = np.flatnonzero(profile > bound)
    return int(beyond[0]) if beyond.size else None


def step_profile(ours: Array, theirs: Array) -> Array:
    """Return the largest relative difference of each time step of hidden states (B, T, H)."""
    scale = np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0) or 1.0
    profile: Array = apart(ours, theirs).max(axis=(0, 2)) / scale
    return profile
