"""What dropout multiplies by in compiled steps: drawn by torch, as the layers themselves would."""

from collections.abc import Sequence
from itertools import chain
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from grulight.kernels.steps import Noise, Sizes, noise_shapes
from grulight.model import GRUNet

# Numbers that are drawn together: beginning a call of compiled steps takes a tenth as long.
_AT_ONCE = 1 << 17


def sizes_of(network: GRUNet) -> Sizes:
    """Return the sizes of a network's GRU."""
    gru = network.gru
    return Sizes(gru.input_size, gru.hidden_size, gru.bias, gru.num_layers, 1 + gru.bidirectional)


def _places(network: GRUNet) -> tuple[bool, bool]:
    """Return whether there is dropout between layers, and before the head."""
    gru, drop = network.gru, network.dropout
    between = gru.training and gru.dropout > 0 and gru.num_layers > 1
    return between, drop.training and drop.p > 0


def _shapes(network: GRUNet, batch: int, longest: int) -> list[tuple[int, ...]]:
    sizes = (sizes_of(network), int(batch), int(longest))
    return noise_shapes(*sizes, *_places(network), network.per_step)


def portions(
    network: GRUNet, batches: NDArray[np.int64], longest: NDArray[np.int64], each: int = 1
) -> Sequence[int]:
    """Return where to cut batches, so that one portion's noise is drawn while another is computed.

    Args:
        network: What is trained.
        batches: Sequences of each batch.
        longest: Steps of each batch.
        each: How many batches make a step, which is not cut.
    """
    if not any(_places(network)):
        return [0, len(batches)]
    cuts, held = [0], 0
    for n, pair in enumerate(zip(batches, longest, strict=True)):
        count = sum(map(prod, _shapes(network, *pair)))
        if held and not n % each and held + count > _AT_ONCE:
            cuts.append(n)
            held = 0
        held += count
    return [*cuts, len(batches)]


def drawn_noise(
    network: GRUNet, batches: NDArray[np.int64], longest: NDArray[np.int64]
) -> Noise | None:
    """Draw the noise of batches, the same numbers that ``GRUNet`` would draw step by step.

    Args:
        network: What is trained.
        batches: Sequences of each batch.
        longest: Steps of each batch.

    Returns:
        None where nothing is dropped.
    """
    between, head = _places(network)
    if not between and not head:
        return None
    shapes = [_shapes(network, *pair) for pair in zip(batches, longest, strict=True)]
    drawn = torch.empty(sum(map(prod, chain(*shapes))), dtype=network.head.weight.dtype)
    numbers, start = drawn.numpy(), 0
    for each in shapes:
        for n, shape in enumerate(each):
            last = head and n + 1 == len(each)
            kept = 1 - (network.dropout.p if last else network.gru.dropout)
            stop = start + prod(shape)
            drawn[start:stop].bernoulli_(kept)
            numbers[start:stop] /= kept
            start = stop
    return Noise(numbers, between, head)
