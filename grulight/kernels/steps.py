"""Many steps of training in one compiled call, for a GRUNet of one layer in one direction."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from grulight.kernels import gate
from grulight.kernels.adam import step_size
from grulight.kernels.reference import Array


class Adam(NamedTuple):
    """The settings of ``grulight.optim.KerasAdam``."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-7
    weight_decay: float = 0.0


class State(NamedTuple):
    """What training moves, in place: flat arrays in the order of ``GRUNet.parameters()``."""

    parameters: Array
    exp_avg: Array
    exp_avg_sq: Array


def train_steps(
    state: State,
    step: int,
    adam: Adam,
    sizes: tuple[int, int, bool],
    data: tuple[Array, Array | None, Array],
    batches: Sequence[Array],
) -> tuple[Array, Array]:
    """Take one step of Keras' Adam for each batch: forward, loss, backward, update.

    The loss is ``grulight.logits.classification_loss``: cross entropy, or for one logit binary
    cross entropy. The GRU computes as in ``FusedGRU``.

    Args:
        state: Moved in place; float32 or float64, C-contiguous, all of one size.
        step: Steps taken before.
        adam: Settings.
        sizes: Input size, hidden size, whether the GRU has biases.
        data: Values (N, T, I) of the state's dtype, lengths (N,) or None, labels (N,).
        batches: The sequences of each batch, as indices (B,).

    Returns:
        The mean loss (float64) and the correct answers (int64) of each batch, before its update.

    Raises:
        InputError: An array does not fit the others, or a length, a label or an index lies beyond
            what it counts.
    """
    from grulight.kernels import numba_network

    classes = max(2, gate.state(state, *sizes))
    number = state.parameters.dtype.type
    arrays = _ready(data, sizes[0], classes, number)
    starts = gate.batches(batches, step)
    most = len(arrays[0]) - 1
    order = gate.whole("batches", np.concatenate(batches), int(starts[-1]), 0, most)
    alphas = [
        step_size(adam.lr, adam.betas, step + n, double=number is np.float64)
        for n in range(1, len(batches) + 1)
    ]
    keeps = (1 - adam.betas[0], 1 - adam.betas[1], adam.eps)
    settings = (*keeps, np.float32(adam.weight_decay), np.float32(adam.lr))
    losses, rights = np.empty(len(batches)), np.empty(len(batches), np.int64)
    numba_network.train(
        *state,
        np.array(alphas, number),
        tuple(map(number, settings)),
        *sizes,
        *arrays,
        order,
        starts,
        losses,
        rights,
    )
    return losses, rights


def _ready(
    data: tuple[Array, Array | None, Array], features: int, classes: int, kind: type
) -> tuple[Array, Array, Array]:
    """Return values, lengths (empty where all steps are valid) and labels as the kernel trusts."""
    values, lengths, labels = data
    values = gate.ready(gate.sequences(values, features), kind)
    count, steps, _ = values.shape
    lens = np.empty(0, np.int64)
    if lengths is not None:
        lens = gate.whole("lengths", lengths, count, 1, steps)
    return values, lens, gate.whole("labels", labels, count, 0, classes - 1)
