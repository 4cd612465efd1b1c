"""The arrays that a layer needs: their names, their shapes, and where native files keep them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from grulight.keras_files.plan.spec import Shape

Array = NDArray[Any]


class Place(NamedTuple):
    """Where a layer of a nested model lies in a native file: the nth group of its class."""

    class_name: str
    ordinal: int
    of: int
    layer: str


Step = str | Place  # of the path to an array


@dataclass(frozen=True)
class Variable:
    """One array that a layer needs.

    Attributes:
        name: Its name in Keras, such as `recurrent_kernel`.
        shapes: The shapes that are right; None is any size.
        path: Where native files keep it: names of groups, and places to be counted out.
        layer: The layer that needs it, for messages.
        trainable: Whether Keras lists it among the trainable weights.
    """

    name: str
    shapes: tuple[Shape, ...]
    path: tuple[Step, ...]
    layer: str
    trainable: bool = True


# Those of a layer by name; those of layers inside it one level deeper.
Variables = dict[str, "Variable | Variables"]


def flat_variables(variables: Variables) -> Iterator[Variable]:
    """Yield the variables of all depths, in order."""
    for held in variables.values():
        if isinstance(held, dict):
            yield from flat_variables(held)
        else:
            yield held
