"""What stands for the steps that a shorter sequence has not, and whether a model reads it."""

from grulight.keras_files.plan.consumers import consumers_of
from grulight.keras_files.plan.spec import Graph, Ref

PASSING = ("Dropout", "GaussianNoise", "SpatialDropout1D")  # what they read is the input itself


def masked_value(graph: Graph, ref: Ref) -> float | None:
    """Return the value of an input that masks a step: of Masking, or 0 of an Embedding that masks.

    None where no layer masks any: the model reads the padding of shorter sequences.
    """
    for spec in consumers_of(graph, ref, (*PASSING, "Masking")):
        if spec.kind == "Masking":
            return spec.number("mask_value", 0.0)
        if spec.kind == "Embedding" and spec.flag("mask_zero"):
            return 0.0
    return None
