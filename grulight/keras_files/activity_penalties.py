"""What regularisers of activities add to the loss of a batch, as Keras adds it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from grulight.keras_files.layers.base import KerasLayer, Signal
from grulight.keras_files.layers.network import Network
from grulight.keras_files.penalties import absolutes_and_squares, read_regularizer

SETTING = "activity_regularizer"


Regularised = tuple[KerasLayer, float, float]  # a layer, and the weights of absolutes and squares


@contextmanager
def activities_gathered(regularised: Iterable[Regularised]) -> Iterator[list[Tensor]]:
    """Yield a list of what the calls within add: l1 Σ|y| + l2 Σy² over the rows of the batch.

    Every output of every call counts, with all of its steps, also those that a mask leaves out.

    Args:
        regularised: See `activity_regularised`.
    """
    terms: list[Tensor] = []
    handles = [each.register_forward_hook(_Hook(terms, *factors)) for each, *factors in regularised]
    try:
        yield terms
    finally:
        for handle in handles:
            handle.remove()


class _Hook:
    def __init__(self, terms: list[Tensor], l1: float, l2: float) -> None:
        self.terms, self.l1, self.l2 = terms, l1, l2

    def __call__(self, layer: nn.Module, given: Any, outputs: Sequence[Signal]) -> None:
        for value, _ in outputs:
            if value.dim() and len(value):
                self.terms.append(absolutes_and_squares([value], self.l1, self.l2) / len(value))


def activity_regularised(model: nn.Module) -> Iterator[Regularised]:
    """Yield the layers whose activities are regularised as is known here, and by how much.

    Keras outside TensorFlow did not divide by the rows. Nor did Keras 3 before 3.14; its files are
    trained as today's Keras trains them.
    """
    for network in (each for each in model.modules() if isinstance(each, Network)):
        for name, spec in network.graph.layers.items():
            layer = network.layer(name)
            factors = read_regularizer(layer.regularizers.get(SETTING))
            if spec.version.tensorflow and factors is not None and any(factors):
                yield layer, *factors
