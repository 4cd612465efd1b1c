"""How known wrong ports compute: each function answers a question wrongly.

Most change the weights or inputs and let our real side compute; those in the arithmetic of the
cell use the NumPy reference with another cell.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from grulight.kernels.reference import Step
from parity.question import Array, Arrays, Question, Side
from parity.sides import reference_side

Wrong = Callable[[Question, Side], Arrays]


def of_weights(change: Callable[[str, Arrays], Array]) -> Wrong:
    """Make a wrong port that replaces each GRU parameter; ``change`` gets its name, all weights."""

    def wrong(question: Question, ours: Side) -> Arrays:
        weights = dict(question.weights)
        for name in weights:
            if name.startswith("gru."):
                weights[name] = change(name, question.weights)
        return ours(replace(question, weights=weights))

    return wrong


def of_inputs(change: Callable[[Arrays], Arrays]) -> Wrong:
    """Make a wrong port that hands our side other inputs."""
    return lambda question, ours: ours(replace(question, inputs=change(question.inputs)))


def of_optimizer(name: str) -> Wrong:
    """Make a wrong port that steps with another optimiser."""
    return lambda question, ours: ours(
        replace(question, settings={**question.settings, "optimizer": name})
    )


def _blocks(array: Array) -> list[Array]:
    return np.split(array, 3)


def gates_not_permuted(name: str, weights: Arrays) -> Array:
    """Stack the gates z, r, n, as Keras does."""
    r, z, n = _blocks(weights[name])
    return np.concatenate([z, r, n])


def update_gate_inverted(name: str, weights: Arrays) -> Array:
    """Negate the update gate's pre-activation, which swaps z and 1 - z as in Cho's paper."""
    r, z, n = _blocks(weights[name])
    return np.concatenate([r, -z, n])


def recurrent_blocks_transposed(name: str, weights: Arrays) -> Array:
    """Transpose each (H, H) block of the recurrent weights."""
    if "weight_hh" not in name:
        return weights[name]
    return np.concatenate([block.T for block in _blocks(weights[name])])


def bias_rows_swapped(name: str, weights: Arrays) -> Array:
    """Take the input bias for the recurrent one and the other way round."""
    other = {"bias_ih": "bias_hh", "bias_hh": "bias_ih"}
    kind = name.removeprefix("gru.")[:7]
    return weights[name.replace(kind, other[kind])] if kind in other else weights[name]


def recurrent_bias_folded(name: str, weights: Arrays) -> Array:
    """Add the recurrent bias to the input bias: right for r and z, wrong for n."""
    if "bias_hh" in name:
        return np.zeros_like(weights[name])
    if "bias_ih" in name:
        return weights[name] + weights[name.replace("bias_ih", "bias_hh")]
    return weights[name]


def directions_swapped(name: str, weights: Arrays) -> Array:
    """Take the backward layer for the forward one."""
    swapped = name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"
    return weights[swapped]


def cell(recurrent_activation: Callable[[Array], Array], reset_after: bool = True) -> Wrong:
    """Make a wrong port of the cell's arithmetic, computed by the reference."""

    def step(a_BG: Array, h_BH: Array, w_hh_GH: Array, b_hh_G: Array) -> Step:
        a_r, a_z, a_n = np.split(a_BG, 3, axis=1)
        c_r, c_z, c_n = np.split(h_BH @ w_hh_GH.T + b_hh_G, 3, axis=1)
        r, z = recurrent_activation(a_r + c_r), recurrent_activation(a_z + c_z)
        w_n, b_n = w_hh_GH[-h_BH.shape[1] :], b_hh_G[-h_BH.shape[1] :]
        inner = r * c_n if reset_after else (r * h_BH) @ w_n.T + b_n
        n = np.tanh(a_n + inner)
        return Step(z * h_BH + (1 - z) * n, r, z, n, c_n)

    return lambda question, ours: reference_side.forward(question, step)[0]


def hard_sigmoid_of_keras_2(x: Array) -> Array:
    """Return clip(0.2 x + 0.5, 0, 1): tf-keras, src/backend.py, hard_sigmoid."""
    return np.clip(0.2 * x + 0.5, 0.0, 1.0)


def hard_sigmoid_of_keras_3(x: Array) -> Array:
    """Return relu6(x + 3) / 6: keras/src/backend/tensorflow/nn.py, hard_sigmoid."""
    return np.clip(x / 6.0 + 0.5, 0.0, 1.0)


def last_step_read(question: Question, ours: Side) -> Arrays:
    """Feed the head from time step T - 1, whatever the lengths and the direction."""
    found, out = reference_side.forward(question)
    top = [array[:, -1] for array in out.hidden.values()][-len(question.network.directions) :]
    weights = question.weights
    logits = np.concatenate(top, axis=-1) @ weights["head.weight"].T + weights["head.bias"]
    return found | reference_side.outputs(question, logits)


def padding_counted(question: Question, ours: Side) -> Arrays:
    """Let the loss go over the padding, as if every step were one to learn."""
    found, out = reference_side.forward(question)
    whole = replace(question, inputs=without_lengths(question.inputs))
    return found | reference_side.outputs(whole, out.logits_BC)


def gradient_cut(question: Question, ours: Side) -> Arrays:
    """Let gradients flow through the last three time steps only."""
    _, out = reference_side.forward(question)
    for name, tape in out.tapes.items():
        out.tapes[name] = tape._replace(
            times=tape.times[-3:], before=tape.before[-3:], steps=tape.steps[-3:]
        )
    return reference_side.gradients(question, out)


def softmax_twice(question: Question, ours: Side) -> Arrays:
    """Give probabilities to a loss that takes logits."""
    p = reference_side.probabilities(question.network, question.inputs["logits"])
    return ours(replace(question, inputs={**question.inputs, "logits": p}))


def loss_summed(question: Question, ours: Side) -> Arrays:
    """Sum over the batch where Keras averages."""
    return {name: array * len(question.inputs["labels"]) for name, array in ours(question).items()}


def without_shuffling(question: Question, ours: Side) -> Arrays:
    """Visit the sequences in the first epoch's order in every epoch."""
    order = question.inputs["order"]
    repeated = np.broadcast_to(order[0], order.shape)
    return ours(replace(question, inputs={**question.inputs, "order": repeated}))


def without_lengths(inputs: Arrays) -> Arrays:
    """Take padding for data."""
    return {name: array for name, array in inputs.items() if name != "lengths"}


def without_state(inputs: Arrays) -> Arrays:
    """Start from zeros."""
    return inputs | {"h0": np.zeros_like(inputs["h0"])}


def biases_forgotten(name: str, weights: Arrays) -> Array:
    """Keep the zeros of a fresh layer."""
    return np.zeros_like(weights[name]) if "bias" in name else weights[name]
