"""The stages of the pipeline, with the shape and the first values of what comes out of each."""

from dataclasses import dataclass

import numpy as np
import torch

from grulight.data.batches import Batch, Batches
from grulight.data.readers.targets import hold_or_not
from grulight.data.sequences import Sequences
from grulight.data.splitting import Parts
from grulight.model import GRUNet
from grulight.trace.layers import activation
from grulight.training.classifier import GRUClassifier

PARTS = ("train", "validation", "test")
_SAMPLE = 4  # values shown per stage: what fits a terminal of 80 columns


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: What happens.
        shape: What comes out, as text; the first axis counts sequences.
        detail: What one should know of it.
        sample: The first values that come out, as text: of the first training sequence, except
            for the split, where they are the first labels.
    """

    name: str
    shape: str
    detail: str
    sample: str


def record_stages(classifier: GRUClassifier, parts: Parts) -> list[Stage]:
    """Send the first training sequence through the pipeline and note every stage.

    The shapes are those of the whole training part; where it is empty, of the first that is not.
    """
    first = next(part for part in parts if len(part))
    steps = max(part.values.shape[1] for part in parts)
    batch = next(iter(Batches(first.part(0, 1), 1, whole=classifier.network.reads_padding)))
    values = batch.values.to(next(classifier.parameters()))
    sizes = {name: len(part) for name, part in zip(PARTS, parts, strict=True) if len(part)}
    total = _shape(sum(sizes.values()), steps, len(first.feature_names))
    read = f"{first.source}, less an offset" if any(first.offset or ()) else first.source
    return [
        Stage("input", total, read, _first_numbers(values[0, 0])),
        Stage(
            "split", " / ".join(map(str, sizes.values())), " / ".join(sizes), _first_labels(first)
        ),
        *_layer_stages(classifier, len(first), steps, values, batch.lengths),
    ]


def _first_labels(train: Sequences) -> str:
    """Return the first labels, or those of the first sequence where each step has one."""
    if train.labels is None:
        return ""
    first = (train.labels[0] if train.per_step else train.labels)[: _SAMPLE + 1]
    if train.has_values:
        values = np.array(first[:, 0], np.float32)  # a copy: what is packed cannot be written to
        if hold_or_not(values):
            return _first_words([f"{value:.0f}" for value in values])
        return _first_numbers(torch.from_numpy(values))
    return _first_words([train.class_names[i] for i in first])


def _layer_stages(
    classifier: GRUClassifier,
    count: int,
    steps: int,
    values: torch.Tensor,
    lengths: torch.Tensor | None,
) -> list[Stage]:
    training = classifier.training
    classifier.eval()
    network = classifier.network
    with torch.no_grad():
        answer = classifier.predict_step(Batch(values, lengths, None))[0]
        if isinstance(network, GRUNet):
            follows = activation(classifier.head)
            dense = "dense" if follows == "linear" else f"dense + {follows}"
            read = network.states if network.per_step else network.summarize
            known = read(classifier.standardized(values), lengths)[0]
            kernel = network.gru.kernel  # which may be a choice of `auto`
            layers = [(f"GRU ({kernel})", known, network.gru), (dense, answer, network.head)]
        else:
            layers = [("Keras model", answer, network)]
    classifier.train(training)
    # the first sequence may be shorter than others
    sizes = (count, steps) if network.follows_steps else (count,)
    return [
        _layer_stage(name, (*sizes, *output.shape[len(sizes) - 1 :]), output, layer)
        for name, output, layer in layers
    ]


def _layer_stage(
    name: str, shape: tuple[int, ...], output: torch.Tensor, layer: torch.nn.Module
) -> Stage:
    parameters = sum(parameter.numel() for parameter in layer.parameters())
    detail = f"{parameters:,} parameters"
    return Stage(name, _shape(*shape), detail, _first_numbers(output.flatten()))


def _first_numbers(values: torch.Tensor) -> str:
    return _first_words([f"{value:.2f}" for value in values[: _SAMPLE + 1].tolist()])


def _first_words(words: list[str]) -> str:
    return " ".join(words[:_SAMPLE]) + (" …" if len(words) > _SAMPLE else "")


def _shape(*sizes: int) -> str:
    return " × ".join(map(str, sizes))
