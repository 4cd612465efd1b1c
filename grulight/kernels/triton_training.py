"""Whole trainings on a GPU, each in one program: many steps of many networks in one launch.

A step of a small network is some hundred kernels one after the other, each of which waits for
memory, and leaves a GPU idle, in a CUDA graph too. Here a program takes all steps of a block of
batches. It reads sequences where they lie; weights and gradients stay in registers during a step;
parameters, moments and the tape of the forward pass stay in the caches next to it, of which a step
reads and writes them once. A GPU runs as many programs side by side as it has multiprocessors, and
more where there is room, so that many networks (of other seeds, rates, orders) take little longer
than one. No program sees another: a network has the bits that it has alone.

Products are float32's own (``triton_head_kernels.EXACT``), sums of losses float64.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
from torch import Tensor, nn

from grulight.errors import InputError
from grulight.kernels import gate
from grulight.kernels.reference import Array
from grulight.kernels.rules import COLUMNS, Updates
from grulight.kernels.steps import ANSWERS, Noise, Sizes, Task, noise_numbers, ready
from grulight.kernels.triton_training_kernels import train_kernel
from grulight.kernels.triton_update import BLOCK, FlatState, Settings, check, settings_of

LARGEST = 64  # units, numbers of an answer
FEATURES = 63  # beside which stands the one that biases are multiplied by
LEAST = 16  # numbers that a product sums over

# by padded units: sequences and warps of a program
TILES = {16: (32, 8), 32: (32, 8), 64: (16, 16)}
# bytes of shared memory that it takes, with as many features and answers as there may be
SHARED = {16: 40_960, 32: 73_728, 64: 139_264}


class Data(NamedTuple):
    """What networks are trained on, on a device: made by ``on_device``.

    Attributes:
        values: (N, T, I).
        lengths: (N,), or None where all steps are valid.
        begins: (N,) at which row of those that follow a sequence's targets begin.
        targets: (R,) classes, or (R, C) labels or values as the network answers.
        weights: (R,) by which each loss is multiplied; None for 1.
        scale: (C,) what a unit of each value stands for.
        steps: (N,) the valid steps of each sequence, in memory.
        task: What is asked.
    """

    values: Tensor
    lengths: Tensor | None
    begins: Tensor
    targets: Tensor
    weights: Tensor | None
    scale: Tensor
    steps: Array
    task: Task


def on_device(
    data: tuple[Array, Array | None, Array],
    outputs: int,
    task: Task,
    device: torch.device | str,
) -> Data:
    """Copy data to a device, once for many calls.

    Args:
        data: Values (N, T, I), lengths and labels, as ``steps.train_steps`` takes them.
        outputs: Numbers of an answer.
        task: What the labels are.
        device: Where to.

    Raises:
        InputError: As ``steps.train_steps`` raises it.
    """
    features = int(np.shape(data[0])[-1]) if np.ndim(data[0]) == 3 else 0
    values, lens, begins, classes, numbers, weights = ready(
        data, features, outputs, np.float32, task
    )
    scale = np.ones(outputs) if task.scale is None else task.scale

    def copied(array: Array) -> Tensor:
        return torch.from_numpy(array).to(device)

    return Data(
        copied(values),
        copied(lens) if lens.size else None,
        copied(begins),
        copied(classes if task.answer == "classes" else numbers),
        copied(weights) if weights.size else None,
        copied(gate.row("scale", scale, outputs, np.float32)),
        lens if lens.size else np.full(len(values), values.shape[1]),
        task,
    )


@cache
def obstacle(sizes: Sizes, outputs: int, device: torch.device) -> str | None:
    """Say why networks of some sizes cannot be trained here on a CUDA device, if they cannot."""
    if sizes.layers > 1 or sizes.directions > 1:
        return "takes one layer in one direction"
    for name, count, most in (
        ("units", sizes.hidden, LARGEST),
        ("features", sizes.inputs, FEATURES),
        ("numbers of an answer", outputs, LARGEST),
    ):
        if count > most:
            return f"takes at most {most} {name}, and there are {count}"
    if torch.version.hip:
        return "was made for NVIDIA's GPUs"
    found: Any = torch.cuda.get_device_properties(device)  # torch's types lack one of these
    needed = SHARED[_padded(sizes.hidden)]
    if found.major < 8 or found.shared_memory_per_block_optin < needed:
        return (
            f"needs compute capability 8.0 and, for {sizes.hidden} units, {needed} bytes of shared "
            f"memory; {found.name} has {found.major}.{found.minor} and "
            f"{found.shared_memory_per_block_optin}"
        )
    return None


def train_steps(
    state: FlatState,
    updates: Sequence[Updates],
    sizes: Sizes,
    data: Data,
    order: Array | Tensor,
    batches: Sequence[int],
    noise: Sequence[Noise] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Take a step of an optimiser for each batch of each network; see ``steps.train_steps``.

    Args:
        state: Moved in place: (models, P) float32, each row as ``GRUNet.parameters()`` are ordered.
        updates: Of each network, all by one rule, with the same groups and variables; what is
            limited may differ.
        sizes: Of the GRU.
        data: On the device of the state.
        order: (models, sequences of all batches) the sequences of each network's batches, one
            batch after the other. What a tensor on the device holds is not looked at, as that
            would wait for it: it must be from 0 to N - 1.
        batches: How many sequences each batch has.
        noise: Of dropout before the head, for each network; None for none.

    Returns:
        The mean loss, the sum of the metric and the number of answers of each batch, before its
        update: (models, batches) float64 on the device. Nothing here waits for it.

    Raises:
        InputError: A tensor or an array does not fit the others, or an index what it counts.
    """
    models = len(order)
    gradients, settings = _checked(state, updates, sizes, data, models, len(batches))
    counts = _counted(data, order, batches)
    numbers, places = _noise(noise, sizes, data, *counts[:2])
    constants = constants_of(sizes, data.scale.numel(), data.task, settings)
    steps, total, fresh = data.values.shape[1], sum(batches), gradients.new_empty
    slots = 5 * steps * constants["TILE_B"] * constants["TILE_H"]
    losses, metrics = (fresh(models, len(batches), dtype=torch.float64) for _ in range(2))
    squares = fresh(models, 1 + constants["VARIABLES"], dtype=torch.float64)
    given = state.parameters, gradients, *state[1:], settings.rows, settings.groups
    limits = settings.limits, settings.variables, squares
    results = fresh(models, slots), losses, metrics
    numbers_of = len(batches), steps, gradients.shape[1], total, slots, float(data.task.smoothing)
    with torch.cuda.device_of(gradients):  # type: ignore[no-untyped-call]
        train_kernel[(models,)](
            *given, *limits, *data[:6], *counts, numbers, places, *results, *numbers_of, **constants
        )
    return losses, metrics, counts[2].double()


def constants_of(sizes: Sizes, outputs: int, task: Task, settings: Settings) -> dict[str, Any]:
    """Return what the kernel is compiled for."""
    norm, value, variables = settings.counts
    units = _padded(sizes.hidden)
    sequences, warps = TILES[units]
    return {
        **{"INPUTS": sizes.inputs, "HIDDEN": sizes.hidden, "OUTPUTS": outputs},
        **{"BIAS": sizes.biases, "ANSWER": ANSWERS.index(task.answer), "PER_STEP": task.per_step},
        **{"GROUPS": settings.rows.shape[-2], "RULE": settings.rule, "NORM": norm, "VALUE": value},
        **{"VARIABLES": variables, "BLOCK": BLOCK, "TILE_B": sequences, "TILE_H": units},
        **{"TILE_I": _padded(sizes.inputs + 1), "TILE_C": _padded(outputs)},
        **{"num_warps": warps, "num_stages": 1, "enable_fp_fusion": True},
    }


def _counted(
    data: Data, order: Array | Tensor, batches: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sequences, where each batch's start, and how many answers each has."""
    if min(batches, default=0) < 1:
        raise InputError("batches: expected at least one, and a sequence in each.")
    starts = _there(np.cumsum([0, *batches]), data.values)
    total, most = sum(batches), len(data.values) - 1
    if len(order.shape) != 2 or order.shape[1] != total:
        raise InputError(f"order {tuple(order.shape)}: expected (models, {total}).")
    if not isinstance(order, Tensor):
        found = gate.whole("order", order.ravel(), order.size, 0, most)
        order = _there(found.reshape(-1, total), data.values)
    if order.dtype != torch.int64 or order.device != data.values.device:
        found_on = f"{order.dtype} on {order.device}"
        raise InputError(f"order is {found_on}, expected int64 on {data.values.device}.")
    answers = starts.diff().repeat(len(order), 1)
    if data.task.per_step:
        if data.lengths is None:
            answers *= data.values.shape[1]
        else:
            before = nn.functional.pad(data.lengths[order].cumsum(1), (1, 0))
            answers = before[:, starts].diff()
    return order.contiguous(), starts, answers


def _padded(count: int) -> int:
    return max(int(triton.next_power_of_2(count)), LEAST)


def _there(array: Array, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like.device)


def _checked(
    state: FlatState, updates: Sequence[Updates], sizes: Sizes, data: Data, models: int, steps: int
) -> tuple[Tensor, Settings]:
    """Return room for gradients, and the updates on the device."""
    outputs, device = data.scale.numel(), state.parameters.device
    why = obstacle(sizes, outputs, device) if device.type == "cuda" else None
    if why:
        raise InputError(f"The training in one program {why}.")
    parts = [*sizes.weights, outputs * sizes.hidden, outputs]
    if state.parameters.shape != (models, sum(parts)):
        raise InputError(
            f"parameters {tuple(state.parameters.shape)}: expected {(models, sum(parts))} for "
            f"{models} networks of {sizes.inputs} features, {sizes.hidden} units and {outputs} "
            "numbers of an answer."
        )
    if data.values.shape[2] != sizes.inputs:
        raise InputError(f"{data.values.shape[2]} features: expected {sizes.inputs}.")
    gate.like(state.parameters, "values", data.values, tuple(data.values.shape))
    settings = _settings(updates, parts, models, steps, device)
    gradients = torch.empty_like(state.parameters)
    check(state, gradients, settings, axes=2)
    return gradients, settings


def _settings(
    updates: Sequence[Updates], parts: Sequence[int], models: int, steps: int, device: torch.device
) -> Settings:
    """Return the updates of all networks."""
    first = updates[0] if updates else None
    if first is None or len(updates) != models:
        raise InputError(f"{len(updates)} updates: expected one for each of {models} networks.")
    shape = steps, first.rows.shape[1], COLUMNS
    for each in updates:
        if each.rows.shape != shape:
            raise InputError(f"rows {each.rows.shape}: expected {shape}.")
        if each is not first and _fixed(each) != _fixed(first):
            raise InputError("updates: expected one rule, and the same groups and variables.")
    limits = np.array([(each.norm, each.value, each.of_variable) for each in updates], float)
    names = dict(zip(("norm", "value", "of_variable"), limits.max(0).tolist(), strict=True))
    rows = np.stack([each.rows for each in updates])
    together = settings_of(first._replace(rows=rows, **names), parts, device)
    return together._replace(limits=torch.from_numpy(limits).to(device))


def _fixed(updates: Updates) -> tuple[object, ...]:
    """Return what the updates of all networks have in common."""
    arrays = updates.groups, updates.variables
    return updates.rule, *(None if each is None else tuple(np.asarray(each)) for each in arrays)


def _noise(
    noise: Sequence[Noise] | None, sizes: Sizes, data: Data, order: Tensor, starts: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return all networks' noise, and where that of each batch begins; None for none."""
    if noise is None:
        return None, None
    if len(noise) != len(order) or not all(each.head and not each.between for each in noise):
        raise InputError("noise: expected some before the head, and none elsewhere, for each.")
    numbers, places, begin = [], [], 0
    edges = starts.cpu().numpy()
    for each, chosen in zip(noise, order.cpu().numpy(), strict=True):
        lens = data.steps[chosen]
        found, at = noise_numbers(each, sizes, lens, edges, data.task.per_step, np.float32)
        numbers.append(found)
        places.append(begin + at)
        begin += len(found)
    there = (_there(each, data.values) for each in (np.concatenate(numbers), np.stack(places)))
    return tuple(there)  # type: ignore[return-value]
