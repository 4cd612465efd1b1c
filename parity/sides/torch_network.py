"""GRUNet as the proof needs it: built by its sizes, loaded, read as arrays, run with its states."""

from typing import Any

import torch
from torch import Tensor, nn

from grulight.heads import ClassHead, Head, LabelHead, ValueHead
from grulight.kernels.fused import FusedGRU, Kernel
from grulight.model import GRUNet
from grulight.training.classifier import GRUClassifier
from parity.question import Answer, Arrays, Network, cast


def classifier_for(network: Network, kernel: Kernel = "auto") -> GRUClassifier:
    """Return the task of ``grulight fit`` around a network of these sizes."""
    classes = network.answer == "classes"
    return GRUClassifier(
        network.input_size,
        max(2, network.num_outputs) if classes else 0,
        network.hidden_size,
        network.num_layers,
        network.bidirectional,
        bias=network.bias,
        kernel=kernel,
        num_values=0 if classes else network.num_outputs,
        per_step=network.per_step,
        multilabel=network.answer == "labels",
    )


def head_of(network: Network) -> Head:
    """Return what ``grulight fit`` takes the network's answers for."""
    if network.answer == "classes":
        return ClassHead(network.num_outputs, network.per_step)
    kind = LabelHead if network.answer == "labels" else ValueHead
    return kind(network.num_outputs, network.per_step)


def fresh_network(network: Network, seed: int = 0) -> GRUNet:
    """Return a network with the initial weights that ``grulight fit`` draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = classifier_for(network).network
    assert isinstance(found, GRUNet)
    return found


def sizes_of(network: GRUNet, answer: Answer = "classes") -> Network:
    """Return the constructor arguments of a GRUNet, and what it answers."""
    gru = network.gru
    return Network(
        gru.input_size,
        network.head.out_features,
        gru.hidden_size,
        gru.num_layers,
        gru.bidirectional,
        gru.bias,
        network.per_step,
        answer,
    )


def weights_of(network: GRUNet) -> Arrays:
    """Return the parameters as float64 arrays."""
    return cast(copy_of(dict(network.named_parameters())), "float64")


def load_weights(module: nn.Module, weights: Arrays) -> None:
    """Load a ``state_dict`` of arrays."""
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})


def copy_of(weights: dict[str, Any]) -> Arrays:
    """Copy parameters to arrays."""
    return {name: p.detach().cpu().numpy().copy() for name, p in weights.items()}


def clipped_cross_entropy(probabilities: Tensor, labels: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Return the loss that Keras computes from probabilities whose logits it cannot see.

    See ``grulight.kernels.reference.clipped_cross_entropy``. Labels (batch, label) that hold or do
    not are as many binary tasks.
    """
    if probabilities.shape[1] == 1 or labels.dim() == 2:
        target = labels.to(probabilities.dtype).reshape(probabilities.shape)
        clipped = probabilities.clamp(epsilon, 1 - epsilon)
        return -(target * clipped.log() + (1 - target) * (1 - clipped).log()).mean()
    whole = probabilities / probabilities.sum(dim=1, keepdim=True)
    clipped = whole.clamp(epsilon, 1 - epsilon)
    return -clipped.log().gather(1, labels[:, None]).mean()


def hidden_states(
    net: GRUNet, values: Tensor, lengths: Tensor | None, h0: Tensor | None
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Run GRUNet itself; hooks hand it the initial state and take the hidden states out."""
    seen: list[tuple[Any, Any, Any]] = []
    hooks = [
        net.gru.register_forward_hook(lambda _, *call: seen.append(call), with_kwargs=True),
    ]
    if h0 is not None:
        hooks.append(net.gru.register_forward_pre_hook(lambda _, given: (given[0], h0)))
    logits = net(values, lengths)
    for hook in hooks:
        hook.remove()
    given, settings, (top, last) = seen[0]
    names = sizes_of(net).layers()
    ways = 1 + net.gru.bidirectional
    lower = [_lower_layers(net.gru, n, given, settings) for n in range(1, net.gru.num_layers)]
    hidden: dict[str, Tensor] = {}
    for number, output in enumerate([*lower, top]):
        parts = output.chunk(ways, dim=-1)
        hidden |= dict(zip(names[number * ways :], parts, strict=False))
    return logits, hidden, dict(zip(names, last, strict=True))


def _lower_layers(
    gru: FusedGRU, layers: int, given: tuple[Any, ...], settings: dict[str, Any]
) -> Any:
    """Run the lowest layers of a stack with the stack's own parameters and kernel."""
    ways = 1 + gru.bidirectional
    sizes = gru.input_size, gru.hidden_size, layers, gru.bias, True, 0.0, gru.bidirectional
    below = FusedGRU(*sizes, kernel=gru.asked).to(given[0].dtype)
    shared: dict[str, Tensor] = {
        name: p for name, p in gru.named_parameters() if name in dict(below.named_parameters())
    }
    state = () if len(given) < 2 else (given[1][: layers * ways],)
    return torch.func.functional_call(below, shared, (given[0], *state), settings)[0]


def probabilities(network: Network, logits: Tensor) -> Tensor:
    """Return softmax, or for one logit and for labels the sigmoid."""
    several = network.answer == "classes" and logits.shape[-1] > 1
    return logits.softmax(dim=-1) if several else logits.sigmoid()
