"""Many steps of training in one compiled call, for a GRUNet."""

from collections.abc import Sequence
from math import prod
from typing import Literal, NamedTuple

import numpy as np

from grulight.kernels import gate
from grulight.kernels.compiled import train
from grulight.kernels.reference import Array
from grulight.kernels.rules import Adam, Updates, keras_adam

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


class Sizes(NamedTuple):
    """Of the GRU."""

    inputs: int
    hidden: int
    biases: bool
    layers: int = 1
    directions: int = 1

    @property
    def weights(self) -> list[int]:
        """How many numbers each of its weights has, in its order."""
        gates, found = 3 * self.hidden, []
        for layer in range(self.layers):
            read = self.directions * self.hidden if layer else self.inputs
            each = [gates * read, gates * self.hidden, *[gates] * (2 * self.biases)]
            found += each * self.directions
        return found


class Noise(NamedTuple):
    """What dropout multiplies by in training.

    Attributes:
        numbers: Of each batch, one after the other: between layers (layer, T, B, W), then before
            the head (B, W), or (B, T, W) where there is an answer for each step. T is the longest
            of the batch, W the hidden size times the directions.
        between: Whether there is some between layers.
        head: Whether there is some before the head.
    """

    numbers: Array
    between: bool
    head: bool


class State(NamedTuple):
    """What training moves, in place: flat arrays in the order of ``GRUNet.parameters()``.

    The moments are called as Adam's; other rules keep what ``numba_update.update`` says in them.
    ``sums`` are gradients of batches that have moved nothing yet; None for zero.
    """

    parameters: Array
    exp_avg: Array
    exp_avg_sq: Array
    third: Array | None = None
    sums: Array | None = None


def train_steps(
    state: State,
    step: int,
    rule: Adam | Updates,
    sizes: tuple[int, int, bool] | Sizes,
    data: tuple[Array, Array | None, Array],
    batches: Sequence[Array],
    task: Task = _CLASSES,
    noise: Noise | None = None,
) -> tuple[Array, Array, Array]:
    """Take one step of an optimiser for each batch: forward, loss, backward, update.

    The GRU computes as in ``FusedGRU``.

    Args:
        state: Moved in place; float32 or float64, C-contiguous, all of one size.
        step: Steps taken before.
        rule: Settings of Keras' Adam, or how each step updates.
        sizes: Input size, hidden size, whether the GRU has biases; and how many layers.
        data: Values (N, T, I) of the state's dtype, lengths (N,) or None, and labels: (N,) or
            (N, T) classes; or labels and values as the network answers, (N, C) or (N, T, C).
        batches: The sequences of each batch, as indices (B,).
        task: What they are.
        noise: Of dropout; None for none.

    Returns:
        The mean loss, the sum of the metric (the right classes or labels, or the absolute errors)
        and the number of answers of each batch, before its update; float64.

    Raises:
        InputError: An array does not fit the others, or a length, a label or an index lies beyond
            what it counts.
    """
    sizes = Sizes(*sizes)
    outputs = gate.state(state[:3], sizes)
    number = state.parameters.dtype.type
    arrays = ready(data, sizes.inputs, outputs, number, task)
    starts = gate.batches(batches, step)
    order = gate.whole("batches", np.concatenate(batches), int(starts[-1]), 0, len(arrays[0]) - 1)
    if isinstance(rule, Adam):
        rule = keras_adam(rule, step, len(batches), double=number is np.float64)
    third, sums = (np.zeros_like(state.parameters) if each is None else each for each in state[3:])
    edges = np.cumsum([0, *sizes.weights, outputs * sizes.hidden * sizes.directions, outputs])
    groups, variables = (
        np.zeros(len(edges) - 1, np.int64) if each is None else each
        for each in (rule.groups, rule.variables)
    )
    counts = len(batches), len(edges) - 1
    rows, groups = gate.updates(rule.rows, groups, counts, (third, sums), edges[-1], number)
    variables = gate.whole("variables", variables, counts[1], -1, counts[1] - 1)
    scale = np.ones(outputs) if task.scale is None else task.scale
    losses, metrics = np.empty(len(batches)), np.empty(len(batches))
    lens = arrays[1] if arrays[1].size else np.full(len(arrays[0]), arrays[0].shape[1])
    numbers, places = noise_numbers(noise, sizes, lens[order], starts, task.per_step, number)
    train(
        state.parameters,
        (state.exp_avg, state.exp_avg_sq, third, sums),
        edges,
        groups,
        variables,
        rule.rule,
        rows,
        (float(rule.norm), float(rule.value), float(rule.of_variable)),
        (sizes.inputs, sizes.hidden, sizes.layers, sizes.directions, int(sizes.biases)),
        ANSWERS.index(task.answer),
        task.per_step,
        number(task.smoothing),
        gate.row("scale", scale, outputs, number),
        *arrays,
        order,
        starts,
        numbers,
        places,
        noise is not None and noise.between,
        losses,
        metrics,
    )
    answers = np.diff(starts)
    if task.per_step:
        answers = np.add.reduceat(lens[order], starts[:-1])
    return losses, metrics, answers.astype(np.float64)


def noise_shapes(
    sizes: Sizes, batch: int, longest: int, between: bool, head: bool, per_step: bool
) -> list[tuple[int, ...]]:
    """Return the shapes of what a batch's dropout multiplies by, in the order of drawing."""
    wide = sizes.hidden * sizes.directions
    found: list[tuple[int, ...]] = [(longest, batch, wide)] * ((sizes.layers - 1) * between)
    return found + [(batch, longest, wide) if per_step else (batch, wide)] * head


def noise_numbers(
    noise: Noise | None, sizes: Sizes, lens: Array, starts: Array, per_step: bool, number: type
) -> tuple[Array, Array]:
    """Return all numbers, and where each batch's start and the last one's end."""
    if noise is None:
        return np.empty(0, number), np.zeros(len(starts), np.int64)
    counts = [
        sum(map(prod, noise_shapes(sizes, b, t, noise.between, noise.head, per_step)))
        for b, t in zip(np.diff(starts), np.maximum.reduceat(lens, starts[:-1]), strict=True)
    ]
    places = np.cumsum([0, *counts])
    return gate.row("noise", noise.numbers, int(places[-1]), number), places


def ready(
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
