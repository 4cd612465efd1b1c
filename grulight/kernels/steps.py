"""Many steps of training in one compiled call, for a GRUNet of one layer in one direction."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

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


Answer = Literal["classes", "labels", "values"]
ANSWERS: tuple[Answer, ...] = ("classes", "labels", "values")  # as numba_head counts them


class Task(NamedTuple):
    """What is asked of the network.

    Attributes:
        answer: One of several classes, labels that hold or do not, or values; their losses are
            those of ``grulight.heads``, of values the mean squared error.
        per_step: Whether there is an answer for each step.
        smoothing: Of classes and labels.
        scale: (C,) what a unit of each value stands for in the metric; None for 1.
        weights: (N,) or (N, T), by which the loss of each answer is multiplied; None for 1.
    """

    answer: Answer = "classes"
    per_step: bool = False
    smoothing: float = 0.0
    scale: Array | None = None
    weights: Array | None = None


_CLASSES = Task()


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
    task: Task = _CLASSES,
) -> tuple[Array, Array, Array]:
    """Take one step of Keras' Adam for each batch: forward, loss, backward, update.

    The GRU computes as in ``FusedGRU``.

    Args:
        state: Moved in place; float32 or float64, C-contiguous, all of one size.
        step: Steps taken before.
        adam: Settings.
        sizes: Input size, hidden size, whether the GRU has biases.
        data: Values (N, T, I) of the state's dtype, lengths (N,) or None, and labels: (N,) or
            (N, T) classes; or labels and values as the network answers, (N, C) or (N, T, C).
        batches: The sequences of each batch, as indices (B,).
        task: What they are.

    Returns:
        The mean loss, the sum of the metric (the right classes or labels, or the absolute errors)
        and the number of answers of each batch, before its update; float64.

    Raises:
        InputError: An array does not fit the others, or a length, a label or an index lies beyond
            what it counts.
    """
    from grulight.kernels import numba_network

    outputs = gate.state(state, *sizes)
    number = state.parameters.dtype.type
    arrays = _ready(data, sizes[0], outputs, number, task)
    starts = gate.batches(batches, step)
    most = len(arrays[0]) - 1
    order = gate.whole("batches", np.concatenate(batches), int(starts[-1]), 0, most)
    alphas = [
        step_size(adam.lr, adam.betas, step + n, double=number is np.float64)
        for n in range(1, len(batches) + 1)
    ]
    keeps = (1 - adam.betas[0], 1 - adam.betas[1], adam.eps)
    settings = (*keeps, np.float32(adam.weight_decay), np.float32(adam.lr))
    scale = np.ones(outputs) if task.scale is None else task.scale
    losses, metrics = np.empty(len(batches)), np.empty(len(batches))
    numba_network.train(
        *state,
        np.array(alphas, number),
        tuple(map(number, settings)),
        *sizes,
        ANSWERS.index(task.answer),
        task.per_step,
        number(task.smoothing),
        gate.row("scale", scale, outputs, number),
        *arrays,
        order,
        starts,
        losses,
        metrics,
    )
    counts = np.diff(starts)
    if task.per_step:
        each = arrays[1] if arrays[1].size else np.full(len(arrays[0]), arrays[0].shape[1])
        counts = np.add.reduceat(each[order], starts[:-1])
    return losses, metrics, counts.astype(np.float64)


def _ready(
    data: tuple[Array, Array | None, Array], features: int, outputs: int, kind: type, task: Task
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return values, lengths (empty where all are valid) and targets as the kernel trusts them.

    The targets are where each sequence's begin, classes (R,), numbers (R, C) and weights (R,), of
    which those that are not needed are empty.
    """
    values, lengths, labels = data
    values = gate.ready(gate.sequences(values, features), kind)
    count, steps, _ = values.shape
    lens = np.empty(0, np.int64)
    if lengths is not None:
        lens = gate.whole("lengths", lengths, count, 1, steps)
    rows, begins = count, np.arange(count)
    weights = task.weights
    if task.per_step:
        each = lens if lens.size else np.full(count, steps)
        valid = np.arange(steps) < each[:, None]
        rows, begins = int(each.sum()), np.cumsum(each) - each
        labels = gate.of_steps("labels", labels, valid)
        weights = None if weights is None else gate.of_steps("weights", weights, valid)
    held = np.empty(0, kind) if weights is None else gate.row("weights", weights, rows, kind)
    if task.answer == "classes":
        classes = gate.whole("labels", labels, rows, 0, max(2, outputs) - 1)
        return values, lens, begins, classes, np.empty((0, outputs), kind), held
    numbers = gate.table("labels", labels, rows, outputs, kind)
    return values, lens, begins, np.empty(0, np.int64), numbers, held
