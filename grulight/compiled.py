"""Which networks are computed in one compiled call, and their predictions."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from grulight.heads import ClassHead
from grulight.kernels.prediction import Predictor
from grulight.model import GRUNet

if TYPE_CHECKING:
    from grulight.task import GRUClassifier


def plain_network(module: "GRUClassifier") -> GRUNet | None:
    """Return a network that is a GRU of one layer in one direction, which Numba computes.

    None where there is another, or where weights are not what they seem (pruned, say).
    """
    network = module.network
    if not isinstance(network, GRUNet) or not isinstance(module.head, ClassHead):
        return None
    gru = network.gru
    plain = gru.kernel == "numba" and gru.num_layers == 1 and not gru.bidirectional
    return network if plain and all(map(_is_parameter, weights_of(network))) else None


def weights_of(network: GRUNet) -> list[Tensor]:
    """Return what a plain network computes with, in the order of its parameters."""
    weights: list[Tensor] = [*vars(network.gru)["_flat_weights"]]
    return [*weights, network.head.weight, network.head.bias]


def _is_parameter(weight: Tensor) -> bool:
    return isinstance(weight, nn.Parameter)


class CompiledPredictor(Predictor):
    """Tell the class probabilities of a plain network, whatever becomes of its weights' numbers.

    Args:
        network: One that :func:`plain_network` returned.
        mean: Taken off each feature first (feature,), or None.
        scale: Divided by then (feature,), or None.
    """

    def __init__(self, network: GRUNet, mean: Tensor | None, scale: Tensor | None) -> None:
        constants = (None if each is None else each.numpy() for each in (mean, scale))
        super().__init__([each.detach().numpy() for each in weights_of(network)], *constants)
        # read without nn.Module's __getattr__, which takes longer than a time step
        self._gru, self._head = vars(network.gru), network.head._parameters
        self._seen = self.addresses()

    def addresses(self) -> tuple[int, ...]:
        """Return where the network's weights are now."""
        weights = *self._gru["_flat_weights"], *self._head.values()
        return tuple(map(Tensor.data_ptr, weights))

    def is_current(self) -> bool:
        """Return whether the network's weights are still where they were."""
        return self.addresses() == self._seen


def compiled_predictor(module: "GRUClassifier") -> CompiledPredictor | None:
    """Return what predicts in one compiled call, where the network is one that it knows."""
    network = plain_network(module)
    return None if network is None else CompiledPredictor(network, module.mean, module.scale)
