"""Whether an array of the file is the one that a layer needs, by its shape and its own name."""

import re
from collections.abc import Sequence

from grulight.errors import InputError
from grulight.keras_files.plan.spec import Shape
from grulight.keras_files.plan.variables import Variable
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.untrusted_text import quote

# Names that mean one thing in every Keras since 2.0: an array so called goes nowhere else.
STANDARD_NAMES = {
    "kernel", "recurrent_kernel", "bias", "gamma", "beta",
    "moving_mean", "moving_variance", "embeddings", "alpha",
}  # fmt: skip


def is_counter(stored: Stored) -> bool:
    """Return whether an array counts what a Normalization has seen, which nothing depends on."""
    return stored.dtype is None and stored.shape == ()


def standard_name(stored: Stored) -> str | None:
    """Return what an array's own name says it is, if it says."""
    name = re.sub(r"(_\d+)?(:\d+)?$", "", stored.name.rpartition("/")[2])
    return name if name in STANDARD_NAMES else None


def require_fit(variable: Variable, stored: Stored) -> Stored:
    """Return an array of the file, checked to be the one that a layer needs.

    Raises:
        InputError: Its shape is another, or its name is that of another variable.
    """
    if not any(fits(shape, stored.shape) for shape in variable.shapes):
        wanted = " or ".join(_text(shape) for shape in variable.shapes)
        raise InputError(
            f"layer {quote(variable.layer)}: {variable.name} has shape {stored.shape} in the file "
            f"({quote(stored.name)}), expected {wanted} as configured."
        )
    if "vars" not in stored.name.split("/") and standard_name(stored) not in (None, variable.name):
        raise InputError(
            f"layer {quote(variable.layer)}: the file has {quote(stored.name)} where "
            f"{variable.name} is expected."
        )
    return stored


def fits(wanted: Shape, got: Sequence[int]) -> bool:
    """Return whether a shape is the one wanted, of which None is any size."""
    return len(wanted) == len(got) and all(
        ours in (None, theirs) for ours, theirs in zip(wanted, got, strict=True)
    )


def _text(shape: Shape) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
