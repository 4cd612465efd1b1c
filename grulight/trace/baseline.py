"""What one reaches without reading a sequence: what a model's numbers are to be held against."""

import numpy as np

from grulight.data.sequences import Sequences


def most_frequent_share(sequences: Sequences) -> float:
    """Return the share of the most frequent class; 0 where there are no classes."""
    if sequences.labels is None or sequences.has_values or not len(sequences):
        return 0.0
    counts = np.bincount(sequences.labels[sequences.counted])
    return float(counts.max() / counts.sum())
