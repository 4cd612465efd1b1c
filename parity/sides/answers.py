"""What the answers of both sides are made of."""

import numpy as np

from parity.question import Arrays


def forward_alone(answer: Arrays) -> Arrays:
    """Return what a "network" question shows going forward: all but gradients."""
    return {n: array for n, array in answer.items() if not n.startswith(("grad.", "lossgrad."))}


def stack_snapshots(prefix: str, snapshots: list[Arrays]) -> Arrays:
    """Stack snapshots of weights along a new first axis."""
    return {f"{prefix}.{n}": np.stack([each[n] for each in snapshots]) for n in snapshots[0]}
