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

    None where there is another, or where weights are not what they seem (pruned, say, or lying
    transposed in memory).
    """
    network = module.network
    if not isinstance(network, GRUNet) or not isinstance(module.head, ClassHead):
        return None
    gru = network.gru
    if type(network.head) is not nn.Linear or gru._modules or network.head._modules:
        return None  # what has modules of its own is parametrised
    plain = gru.kernel == "numba" and gru.num_layers == 1 and not gru.bidirectional
    return network if plain and all(map(_is_parameter, weights_of(network))) else None


def weights_of(network: GRUNet) -> list[Tensor]:
    """Return what a plain network computes with: the GRU's weights, and the head's two."""
    weights: list[Tensor] = [*vars(network.gru)["_flat_weights"]]
    return [*weights, network.head.weight, network.head.bias]


def _is_parameter(weight: Tensor) -> bool:
    return isinstance(weight, nn.Parameter) and weight.is_contiguous()


class CompiledPredictor(Predictor):
    """Tell the class probabilities of a classifier, whatever becomes of its weights' numbers.

    Args:
        module: One whose network is plain.
        network: Its network.
    """

    def __init__(self, module: "GRUClassifier", network: GRUNet) -> None:
        standard = module.mean, module.scale
        constants = [each.numpy() for each in standard if each is not None]
        weights = [each.detach().numpy() for each in weights_of(network)]
        super().__init__(weights, *(constants if len(constants) == 2 else ()))
        # read without nn.Module's __getattr__, which takes longer than a time step
        self._module, self._network = vars(module), vars(network)
        self._gru, self._head = vars(network.gru), vars(network.head)
        self._seen = self._state()

    def _state(self) -> tuple[object, ...]:
        """Return which modules and buffers there are now, and where the weights are."""
        weights = *self._gru["_flat_weights"], *self._head["_parameters"].values()
        return (
            *map(id, self._module["_modules"].values()),
            *map(id, self._module["_buffers"].values()),
            *map(id, self._network["_modules"].values()),
            *self._gru["_modules"],
            *self._head["_modules"],
            *map(Tensor.data_ptr, weights),
        )

    def is_current(self) -> bool:
        """Return whether nothing has taken the place of the weights or of what holds them."""
        return self._state() == self._seen


def compiled_predictor(module: "GRUClassifier") -> CompiledPredictor | None:
    """Return what predicts in one compiled call, where the network is one that it knows."""
    network = plain_network(module)
    return None if network is None else CompiledPredictor(module, network)
