"""One sequence on its way through the network: every gate, and the answer after every step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from grulight.data.batches import Batch
from grulight.data.sequences import Sequences
from grulight.kernels.reference import Tape, network_forward
from grulight.model import GRUNet
from grulight.trace.inference import answers_to
from grulight.training.classifier import GRUClassifier

Floats = NDArray[np.float32]
Asked = Literal["beginning", "step", "whole", "own"]

# who asks about every beginning of a sequence reads it again each time: the steps of one sequence,
# of a ported model and of a GRU, which reads all beginnings at once
_MOST_READ, _MOST_READ_AT_ONCE = 20_000, 200_000


@dataclass(frozen=True)
class Walk:
    """What happens to one sequence, at the K time steps that are shown.

    Attributes:
        steps: (K,) which time steps, counted from 0.
        values: (K, F) the sequence as the network sees it.
        layers: Per layer and direction (``l0.forward``) the arrays (K, H) called ``reset``,
            ``update``, ``candidate``, ``hidden``; none for a ported model.
        logits: (A, L) logits or values.
        asked: What they answer: each ``beginning`` of the sequence, as if it had ended there; each
            ``step``; the ``whole`` sequence, where a model takes no other lengths; or steps of the
            model's ``own``, which are not those of the sequence.
        answered: (A,) which step each answer belongs to, counted from 0.
    """

    steps: NDArray[np.int64]
    values: Floats
    layers: dict[str, dict[str, Floats]]
    logits: Floats
    asked: Asked
    answered: NDArray[np.int64]

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
    raw = np.array(part.values[position : position + 1, :length], np.float32)[0]
    with torch.inference_mode():
        seen = classifier.standardized(torch.tensor(raw).to(like)).float().cpu().numpy()
    network = classifier.network
    if not isinstance(network, GRUNet) and not classifier.head.per_step:
        most_steps = min(most_steps, max(2, _MOST_READ // length))
    elif isinstance(network, GRUNet) and network.gru.bidirectional and not classifier.head.per_step:
        most_steps = min(most_steps, max(2, _MOST_READ_AT_ONCE // length))
    steps = np.unique(np.linspace(0, length - 1, most_steps).round().astype(np.int64))
    if not isinstance(network, GRUNet) and classifier.head.per_step:
        return _answered_by_step(classifier, part, position, seen, steps)
    if not isinstance(network, GRUNet):
        return Walk(steps, seen[steps], {}, *_beginnings(classifier, part, raw, steps))
    weights = {
        name: array.detach().float().cpu().numpy() for name, array in network.state_dict().items()
    }
    out = network_forward(weights, seen[None])
    layers = {name: _gates(tape, steps) for name, tape in out.tapes.items()}
    if network.gru.bidirectional and classifier.head.per_step:  # a beginning has other answers
        return replace(_answered_by_step(classifier, part, position, seen, steps), layers=layers)
    if network.gru.bidirectional:
        return Walk(steps, seen[steps], layers, *_beginnings(classifier, part, raw, steps))
    logits = _head(weights, list(layers.values())[-1]["hidden"])
    asked: Asked = "step" if classifier.head.per_step else "beginning"
    return Walk(steps, seen[steps], layers, logits, asked, steps)


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


def _beginnings(
    classifier: GRUClassifier, part: Sequences, raw: Floats, steps: NDArray[np.int64]
) -> tuple[Floats, Asked, NDArray[np.int64]]:
    """Return the logits of the sequence cut after each step."""
    if isinstance(classifier.network, GRUNet):
        cuts = Batch(torch.tensor(raw).expand(len(steps), -1, -1), torch.tensor(steps + 1), None)
        with torch.inference_mode():
            return answers_to(classifier, cuts)[0].numpy(), "beginning", steps
    try:
        found = [_answers(classifier, part, raw[: int(step) + 1])[0] for step in steps]
    # a ported model may read a fixed number of steps, or need some for its convolutions
    except (RuntimeError, ValueError):
        return _answers(classifier, part, raw)[0], "whole", steps[-1:]
    return np.concatenate(found), "beginning", steps


def _answered_by_step(
    classifier: GRUClassifier,
    part: Sequences,
    position: int,
    seen: Floats,
    steps: NDArray[np.int64],
) -> Walk:
    """Follow a sequence through a model that answers for each step, or for steps of its own."""
    raw = np.array(part.values[position : position + 1, : len(seen)], np.float32)[0]
    logits, valid = _answers(classifier, part, raw)
    if not part.follows_steps:
        own = np.unique(np.linspace(0, logits.shape[1] - 1, len(steps) + 1).round().astype(int))
        return Walk(steps, seen[steps], {}, logits[0, own], "own", own)
    if valid is not None and valid[0, steps].any():  # the model looks away from the others
        steps = steps[valid[0, steps]]
    return Walk(steps, seen[steps], {}, logits[0, steps], "step", steps)


def _answers(
    classifier: GRUClassifier, part: Sequences, raw: Floats
) -> tuple[Floats, NDArray[np.bool_] | None]:
    """Return the logits of a sequence alone, and which of its steps count."""
    ragged = bool((part.lengths < part.values.shape[1]).any())
    lengths = torch.tensor([len(raw)]) if ragged else None
    with torch.inference_mode():
        logits, valid = answers_to(classifier, Batch(torch.tensor(raw)[None], lengths, None))
    return logits.numpy(), None if valid is None else valid.numpy()
