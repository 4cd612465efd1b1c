"""One sequence on its way through the network: every gate, and the answer after every step."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from grulight.data.sequences import Sequences
from grulight.kernels.reference import Tape, network_forward
from grulight.model import GRUNet
from grulight.task import GRUClassifier

Floats = NDArray[np.float32]

# who asks about every beginning of a sequence reads it again each time: the steps of one sequence
_MOST_READ = 200_000


@dataclass(frozen=True)
class Walk:
    """What happens to one sequence, at the K time steps that are shown.

    Attributes:
        steps: (K,) which time steps, counted from 0.
        values: (K, F) the sequence as the network sees it.
        layers: Per layer and direction (``l0.forward``) the arrays (K, H) called ``reset``,
            ``update``, ``candidate``, ``hidden``; none for a ported model.
        logits: (K, L) as the answer would be had the sequence ended there; (1, L) for the whole
            sequence where a model takes no other lengths.
    """

    steps: NDArray[np.int64]
    values: Floats
    layers: dict[str, dict[str, Floats]]
    logits: Floats

    @property
    def features(self) -> int:
        """How many features the sequence has."""
        return int(self.values.shape[1])

    @property
    def summary(self) -> Floats | None:
        """What the head read, (S,); None for a ported model."""
        if not self.layers:
            return None
        last = list(self.layers)[-1].partition(".")[0]
        top = [name for name in self.layers if name.partition(".")[0] == last]
        ends = [self.layers[name]["hidden"][-name.endswith("forward")] for name in top]
        return np.asarray(np.concatenate(ends))


def walk(classifier: GRUClassifier, part: Sequences, position: int, most_steps: int) -> Walk:
    """Follow a sequence of a part through a classifier.

    The gates come from ``kernels.reference``, which a test holds against ``nn.GRU``.
    """
    like = next(classifier.parameters())
    length = int(part.lengths[position])
    raw = np.array(part.values[position, :length], np.float32)
    with torch.inference_mode():
        seen = classifier.standardized(torch.tensor(raw).to(like)).float().cpu().numpy()
    network = classifier.network
    if not isinstance(network, GRUNet) or network.gru.bidirectional:
        most_steps = min(most_steps, max(2, _MOST_READ // length))
    steps = np.unique(np.linspace(0, length - 1, most_steps).round().astype(np.int64))
    if not isinstance(network, GRUNet):
        return Walk(steps, seen[steps], {}, _beginnings(classifier, raw, steps))
    weights = {
        name: array.detach().float().cpu().numpy() for name, array in network.state_dict().items()
    }
    out = network_forward(weights, seen[None])
    layers = {name: _gates(tape, steps) for name, tape in out.tapes.items()}
    if network.gru.bidirectional:
        logits = _beginnings(classifier, raw, steps)
    else:
        top = list(layers.values())[-1]["hidden"]
        logits = _head(weights, top)
    return Walk(steps, seen[steps], layers, logits)


def _gates(tape: Tape, steps: NDArray[np.int64]) -> dict[str, Floats]:
    at = dict(zip(tape.times, tape.steps, strict=True))
    shown = [at[int(step)] for step in steps]
    return {
        "reset": np.stack([done.r_BH[0] for done in shown]),
        "update": np.stack([done.z_BH[0] for done in shown]),
        "candidate": np.stack([done.n_BH[0] for done in shown]),
        "hidden": np.stack([done.new_BH[0] for done in shown]),
    }


def _head(weights: Mapping[str, Floats], summary_KH: Floats) -> Floats:
    logits: Floats = summary_KH @ weights["head.weight"].T + weights["head.bias"]
    return logits


def _beginnings(classifier: GRUClassifier, raw: Floats, steps: NDArray[np.int64]) -> Floats:
    """Return the logits of the sequence cut after each step."""
    values = torch.tensor(raw).to(next(classifier.parameters()))
    with torch.inference_mode():
        whole = classifier(values[None]).float().cpu().numpy()
        try:
            found = [classifier(values[None, : int(step) + 1]).float().cpu() for step in steps]
        # a ported model may read a fixed number of steps, or need some for its convolutions
        except (RuntimeError, ValueError):
            return np.asarray(whole)
    return torch.cat(found).numpy()
