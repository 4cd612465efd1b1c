"""Rung 6: do both frameworks, each with its own random numbers, train equally well?

Two samples of final figures, one per framework, and the claim that their means are the same. A
difference test cannot show that; two one-sided tests can (Schuirmann 1987, "A comparison of the
two one-sided tests procedure and the power approach").
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
# A port is as good as a rerun if it moves the mean less than choosing another seed moves a run.
MARGIN = 1.0  # in standard deviations of Keras' own runs


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided Welch tests on one quantity.

    Attributes:
        quantity: What was measured after training.
        ours: One value per seed.
        theirs: One value per seed.
        margin: Largest difference of the means that counts as none.
        p: The larger p value of the two one-sided tests.
    """

    quantity: str
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64]
    margin: float
    p: float

    @property
    def difference(self) -> float:
        """Difference of the means."""
        return float(self.ours.mean() - self.theirs.mean())

    @property
    def shown(self) -> bool:
        """Whether equivalence is shown at the level."""
        return self.p < LEVEL

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "quantity": self.quantity,
            "ours": self.ours.tolist(),
            "theirs": self.theirs.tolist(),
            "difference": self.difference,
            "margin": self.margin,
            "p": self.p,
            "shown": self.shown,
        }


def equivalence(
    quantity: str, ours: NDArray[np.float64], theirs: NDArray[np.float64]
) -> Equivalence:
    """Test whether two means differ by less than the margin, without assuming equal variances.

    Raises:
        ValueError: A sample has fewer than two values or one that is not finite.
    """
    if min(ours.size, theirs.size) < 2 or not (
        np.isfinite(ours).all() and np.isfinite(theirs).all()
    ):
        raise ValueError(f"{quantity}: expected at least two finite values per side.")
    margin = MARGIN * float(theirs.std(ddof=1))
    shares = np.array([ours.var(ddof=1) / ours.size, theirs.var(ddof=1) / theirs.size])
    error = float(np.sqrt(shares.sum()))
    difference = float(ours.mean() - theirs.mean())
    if error == 0.0:
        return Equivalence(quantity, ours, theirs, margin, float(abs(difference) > 0.0))
    freedom = shares.sum() ** 2 / (shares**2 / [ours.size - 1, theirs.size - 1]).sum()
    p = max(
        student_tail((difference + margin) / error, freedom),
        student_tail((margin - difference) / error, freedom),
    )
    return Equivalence(quantity, ours, theirs, margin, p)


def student_tail(t: float, freedom: float) -> float:
    """Return the chance that Student's t exceeds ``t``, by integrating its density.

    With t = sqrt(freedom) tan(a), the density is proportional to cos(a)^(freedom - 1).
    """
    angles = np.linspace(-np.pi / 2, np.pi / 2, 100_001)
    density = np.cos(angles).clip(0.0) ** (freedom - 1.0)
    beyond = angles >= np.arctan(t / np.sqrt(freedom))
    return float(density[beyond].sum() / density.sum())
