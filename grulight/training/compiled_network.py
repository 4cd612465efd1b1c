"""Which networks are computed in one compiled call, and their predictions."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.heads import ClassHead, Head, LabelHead, ValueHead
from grulight.kernels import gate
from grulight.kernels.prediction import Predictor
from grulight.kernels.steps import Answer, Task
from grulight.model import GRUNet
from grulight.training import reasons

# multiplications in a step's forward pass, from which two threads beat what calls them
_WORTH_THREADS = 100_000_000


def compilable(network: nn.Module, head: Head) -> GRUNet | None:
    """Return the network if it is a GRU of one layer in one direction, which Numba computes.

    None where it is another, or where weights are not what they seem.
    """
    found = trainable(network, head)
    if found is None or found.gru.num_layers > 1 or found.gru.bidirectional:
        return None
    return found


def trainable(network: nn.Module, head: Head) -> GRUNet | None:
    """Return the network if it is a GRUNet that Numba computes.

    None where it is another, or where weights are not what they seem (pruned, say, or lying
    transposed in memory).
    """
    fits = why_not_trainable(network, head) is None
    return network if fits and isinstance(network, GRUNet) else None


def why_not_trainable(network: nn.Module, head: Head) -> reasons.Reason | None:
    """Return why Numba does not compute a network as a whole; None where it does."""
    if type(network) is not GRUNet:
        return not_a_gru_net(network)
    if task_of(head) is None:
        return reasons.LOSS
    gru = network.gru
    if gru.kernel != "numba":
        return (reasons.CHOSEN if gru.asked == "auto" else reasons.KERNEL).of(gru.kernel)
    return None if has_plain_weights(network) else reasons.WEIGHTS


def not_a_gru_net(network: nn.Module) -> reasons.Reason:
    """Return what is said of a network that is no GRUNet."""
    ported = type(network).__module__.startswith("grulight.keras_files.")
    return reasons.NETWORK.of("a Keras model" if ported else type(network).__name__)


def has_plain_weights(network: GRUNet) -> bool:
    """Return whether weights are what they seem: what has modules of its own is parametrised."""
    gru, head = network.gru, network.head
    plain = type(head) is nn.Linear and not gru._modules and not head._modules
    return plain and all(map(_is_parameter, weights_of(network)))


def worth_threads(network: GRUNet, block: Block) -> bool:
    """Return whether a step of a block is so much work that threads should share it.

    A compiled call takes its steps on one thread. How many threads there are is not asked, as
    those of another number would round the loss otherwise.
    """
    weights = sum(each.numel() for each in network.gru.parameters())
    return int((block.sizes * block.steps).max()) * weights >= _WORTH_THREADS


def task_of(head: Head) -> Task | None:
    """Return what compiled calls are told of a head; None where they do not know it."""
    if isinstance(head, ClassHead | LabelHead):
        answer: Answer = "classes" if isinstance(head, ClassHead) else "labels"
        return Task(answer, head.per_step, head.label_smoothing)
    if isinstance(head, ValueHead) and head.error == "mean_squared_error":
        return Task("values", head.per_step, scale=np.array(head.scale) if head.scale else None)
    return None


def weights_of(network: GRUNet) -> list[Tensor]:
    """Return what a compilable network computes with: the GRU's weights, and the head's two."""
    weights: list[Tensor] = [*vars(network.gru)["_flat_weights"]]
    return [*weights, network.head.weight, network.head.bias]


def _is_parameter(weight: Tensor) -> bool:
    return isinstance(weight, nn.Parameter) and weight.is_contiguous()


class CompiledPredictor(Predictor):
    """Tell the predictions of a classifier, whatever becomes of its weights' numbers.

    Args:
        module: A classifier with the buffers ``mean`` and ``scale``.
        network: Its network, one that is compilable.
        head: What its answers mean.
    """

    def __init__(self, module: nn.Module, network: GRUNet, head: Head) -> None:
        standard = module.get_buffer("mean"), module.get_buffer("scale")
        constants = [each.numpy() for each in standard if each is not None]
        weights = [each.detach().numpy() for each in weights_of(network)]
        task, units = task_of(head), None
        assert task is not None
        if isinstance(head, ValueHead) and head.scale:
            units = np.array(head.mean), np.array(head.scale)
        mean, scale = constants if len(constants) == 2 else (None, None)
        super().__init__(weights, mean, scale, task.answer, task.per_step, units)
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


def compiled(module: nn.Module, network: nn.Module, head: Head) -> CompiledPredictor | None:
    """Return what predicts for a classifier in one call, or None where its network cannot."""
    found = compilable(network, head)
    return None if found is None else CompiledPredictor(module, found, head)


def predict_in_torch(
    module: Any, features: int, values: NDArray[np.floating], lengths: NDArray[np.integer] | None
) -> NDArray[np.floating]:
    """Return what a module predicts without a compiled call, NumPy in and NumPy out.

    Args:
        module: With ``predict_step`` and the buffers ``mean`` and ``scale``; it is evaluated.
        features: How many it reads, F.
        values: (N, T, F) raw sequences, padded.
        lengths: (N,) valid steps, which come first; None for all.

    Raises:
        InputError: Values or lengths do not fit, or what standardises is not finite.
    """
    training = module.training
    module.eval()
    with torch.inference_mode():
        answers: Tensor = module.predict_step(_checked_batch(module, features, values, lengths))
    module.train(training)
    return answers.float().cpu().numpy()


def _checked_batch(module: Any, features: int, values: Any, lengths: Any) -> Batch:
    """Return arrays as a batch, checked as the compiled call checks them."""
    like = next(module.parameters())
    gate.statistics(_array(module.mean), _array(module.scale), features)
    given = gate.sequences(values, features)
    held = torch.from_numpy(gate.ready(given, gate.float_of(like.dtype))).to(like)
    if lengths is None:
        return Batch(held, None, None)
    counts = torch.from_numpy(gate.whole("lengths", lengths, len(given), 1, given.shape[1]))
    return Batch(held, counts.to(like.device), None)


def _array(values: Tensor | None) -> NDArray[np.floating] | None:
    return None if values is None else values.detach().double().cpu().numpy()
