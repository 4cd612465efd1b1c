"""The GRU classifier in NumPy, written to be read: the judge between all other implementations.

Forward equations are those of ``torch.nn.GRU``'s documentation, which are Keras'
``GRU(reset_after=True)`` (Cho et al. 2014, arXiv 1406.1078, with the reset gate applied after the
matrix product). The backward pass is the chain rule written out by hand, so that it shares no
code with any framework's automatic differentiation.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

# B batch, T time, I input, H hidden, G = 3H stacked gates in the order r, z, n
# S summary (H per direction), C labels, D directions, L layers
# a_BG input share of the gates, c_BG recurrent share, d_X derivative of the objective by X


class Step(NamedTuple):
    """What one time step computed, kept for the backward pass."""

    new_BH: Array
    r_BH: Array
    z_BH: Array
    n_BH: Array
    c_n_BH: Array


class Tape(NamedTuple):
    """What one layer in one direction computed: input, steps in the order walked, validity."""

    x_BTI: Array
    times: list[int]
    before: list[Array]
    steps: list[Step]
    valid_BT: Array


StepFunction = Callable[[Array, Array, Array, Array], Step]


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def gru_step(a_BG: Array, h_BH: Array, w_hh_GH: Array, b_hh_G: Array) -> Step:
    """Advance one time step: r and z gate, candidate n, new state z h + (1 - z) n."""
    a_r_BH, a_z_BH, a_n_BH = np.split(a_BG, 3, axis=1)
    c_r_BH, c_z_BH, c_n_BH = np.split(h_BH @ w_hh_GH.T + b_hh_G, 3, axis=1)
    r_BH = sigmoid(a_r_BH + c_r_BH)
    z_BH = sigmoid(a_z_BH + c_z_BH)
    n_BH = np.tanh(a_n_BH + r_BH * c_n_BH)
    return Step(z_BH * h_BH + (1.0 - z_BH) * n_BH, r_BH, z_BH, n_BH, c_n_BH)


def gru_layer(
    x_BTI: Array,
    h0_BH: Array,
    parameters: Mapping[str, Array],
    lengths_B: Array,
    backward: bool = False,
    step: StepFunction = gru_step,
) -> tuple[Array, Array, Tape]:
    """Read padded sequences in one direction.

    Args:
        x_BTI: Padded sequences.
        h0_BH: Initial state.
        parameters: ``weight_ih`` (G, I), ``weight_hh`` (G, H), ``bias_ih``, ``bias_hh`` (G,);
            absent biases count as zero.
        lengths_B: Valid steps of each sequence; they come first.
        backward: Read from the last valid step to the first.
        step: The cell; another one makes another model (the negative controls use that).

    Returns:
        Hidden state after each step (B, T, H), zero past the end; the last state (B, H); the tape.
    """
    steps_T = x_BTI.shape[1]
    w_ih_GI, w_hh_GH, b_ih_G, b_hh_G = _unpack(parameters)
    tape = Tape(x_BTI, [], [], [], np.arange(steps_T) < lengths_B[:, None])
    hidden_BTH = np.zeros((*x_BTI.shape[:2], h0_BH.shape[1]), x_BTI.dtype)
    h_BH = h0_BH
    for t in reversed(range(steps_T)) if backward else range(steps_T):
        done = step(x_BTI[:, t] @ w_ih_GI.T + b_ih_G, h_BH, w_hh_GH, b_hh_G)
        valid_B1 = tape.valid_BT[:, t, None]
        tape.times.append(t)
        tape.before.append(h_BH)
        tape.steps.append(done)
        hidden_BTH[:, t] = np.where(valid_B1, done.new_BH, 0.0)
        h_BH = np.where(valid_B1, done.new_BH, h_BH)
    return hidden_BTH, h_BH, tape


def gru_layer_backward(
    tape: Tape, parameters: Mapping[str, Array], d_hidden_BTH: Array, d_last_BH: Array
) -> tuple[Array, Array, Arrays]:
    """Return the derivatives by the input (B, T, I), the initial state (B, H), the parameters."""
    w_ih_GI, w_hh_GH, b_ih_G, b_hh_G = _unpack(parameters)
    d_x_BTI = np.zeros_like(tape.x_BTI)
    d_w_ih_GI, d_w_hh_GH = np.zeros_like(w_ih_GI), np.zeros_like(w_hh_GH)
    d_b_ih_G, d_b_hh_G = np.zeros_like(b_ih_G), np.zeros_like(b_hh_G)
    d_h_BH = d_last_BH
    for t, h_BH, done in zip(tape.times[::-1], tape.before[::-1], tape.steps[::-1], strict=True):
        valid_B1 = tape.valid_BT[:, t, None]
        d_new_BH = np.where(valid_B1, d_h_BH + d_hidden_BTH[:, t], 0.0)
        d_a_BG, d_c_BG = _gate_derivatives(done, h_BH, d_new_BH)
        d_x_BTI[:, t] = d_a_BG @ w_ih_GI
        d_w_ih_GI += d_a_BG.T @ tape.x_BTI[:, t]
        d_w_hh_GH += d_c_BG.T @ h_BH
        d_b_ih_G += d_a_BG.sum(axis=0)
        d_b_hh_G += d_c_BG.sum(axis=0)
        d_h_BH = np.where(valid_B1, d_new_BH * done.z_BH + d_c_BG @ w_hh_GH, d_h_BH)
    found = dict(zip(PARAMETERS, (d_w_ih_GI, d_w_hh_GH, d_b_ih_G, d_b_hh_G), strict=True))
    return d_x_BTI, d_h_BH, {name: found[name] for name in parameters}


def _gate_derivatives(done: Step, h_BH: Array, d_new_BH: Array) -> tuple[Array, Array]:
    """Return the derivatives by the input share and by the recurrent share of the gates."""
    d_a_n_BH = d_new_BH * (1.0 - done.z_BH) * (1.0 - done.n_BH**2)
    d_a_z_BH = d_new_BH * (h_BH - done.n_BH) * done.z_BH * (1.0 - done.z_BH)
    d_a_r_BH = d_a_n_BH * done.c_n_BH * done.r_BH * (1.0 - done.r_BH)
    d_a_BG = np.concatenate([d_a_r_BH, d_a_z_BH, d_a_n_BH], axis=1)
    d_c_BG = np.concatenate([d_a_r_BH, d_a_z_BH, d_a_n_BH * done.r_BH], axis=1)
    return d_a_BG, d_c_BG


def _unpack(parameters: Mapping[str, Array]) -> tuple[Array, Array, Array, Array]:
    w_ih_GI, w_hh_GH = parameters["weight_ih"], parameters["weight_hh"]
    none_G = np.zeros(len(w_ih_GI), w_ih_GI.dtype)
    return w_ih_GI, w_hh_GH, parameters.get("bias_ih", none_G), parameters.get("bias_hh", none_G)


class Forward(NamedTuple):
    """What a whole network computed.

    Attributes:
        hidden: Per layer and direction, ``l0.forward``: (B, T, H), zero past the end.
        last: Per layer and direction the state after the last valid step: (B, H).
        logits_BC: Output of the head.
        summary_BS: Input of the head.
        tapes: What ``network_backward`` needs.
    """

    hidden: Arrays
    last: Arrays
    logits_BC: Array
    summary_BS: Array
    tapes: dict[str, Tape]


def network_forward(
    weights: Mapping[str, Array],
    x_BTI: Array,
    lengths_B: Array | None = None,
    h0_LBH: Array | None = None,
    step: StepFunction = gru_step,
    per_step: bool = False,
) -> Forward:
    """Run a GRUNet given its ``state_dict``; ``h0_LBH`` is ordered as ``nn.GRU`` orders it.

    ``per_step`` answers from every hidden state: summary and logits get an axis of time.
    """
    layers = layers_of(weights)
    if lengths_B is None:
        lengths_B = np.full(len(x_BTI), x_BTI.shape[1])
    if h0_LBH is None:
        units_H = next(iter(layers.values()))["weight_hh"].shape[1]
        h0_LBH = np.zeros((len(layers), len(x_BTI), units_H), x_BTI.dtype)
    out = Forward({}, {}, np.empty(0), np.empty(0), {})
    for number, h0_BH in zip(layers, h0_LBH, strict=True):
        if number.endswith("forward") and out.hidden:
            x_BTI = _of_layer(out.hidden, _number(number) - 1)
        out.hidden[number], out.last[number], out.tapes[number] = gru_layer(
            x_BTI, h0_BH, layers[number], lengths_B, number.endswith("backward"), step
        )
    summary_BS = _of_layer(out.hidden if per_step else out.last, _number(number))
    logits_BC = summary_BS @ weights["head.weight"].T + weights.get("head.bias", 0.0)
    return out._replace(summary_BS=summary_BS, logits_BC=logits_BC)


def network_backward(
    weights: Mapping[str, Array],
    out: Forward,
    d_logits_BC: Array,
    d_hidden: Mapping[str, Array] | None = None,
) -> Arrays:
    """Return the derivatives by ``values``, ``h0`` and every parameter, under these names.

    ``d_hidden`` adds derivatives that reach hidden states from elsewhere than the head. The logits
    may have an axis of time, as ``out`` has them.
    """
    layers = layers_of(weights)
    d_out = {name: np.zeros_like(hidden) for name, hidden in out.hidden.items()}
    for name, derivative in (d_hidden or {}).items():
        d_out[name] = d_out[name] + derivative
    top = _number(list(layers)[-1])
    d_last = {name: np.zeros_like(last) for name, last in out.last.items()}
    d_read = d_out if d_logits_BC.ndim == 3 else d_last
    for name, share in _split_layer(d_read, top, d_logits_BC @ weights["head.weight"]).items():
        d_read[name] = d_read[name] + share
    d_rows, rows = (a.reshape(-1, a.shape[-1]) for a in (d_logits_BC, out.summary_BS))
    grads = {"head.weight": d_rows.T @ rows, "head.bias": d_rows.sum(axis=0)}
    d_h0 = {}
    for number in range(top, -1, -1):
        d_x_BTI: Array = np.zeros(())
        for name in _members(layers, number):
            d_share_BTI, d_h0[name], found = gru_layer_backward(
                out.tapes[name], layers[name], d_out[name], d_last[name]
            )
            d_x_BTI = d_x_BTI + d_share_BTI
            grads |= {_full_name(parameter, name): array for parameter, array in found.items()}
        if number:
            below = _split_layer(d_out, number - 1, d_x_BTI)
            d_out |= {name: d_out[name] + array for name, array in below.items()}
    grads = {name: grads[name] for name in weights}
    return {"values": d_x_BTI, "h0": np.stack([d_h0[name] for name in layers]), **grads}


def layers_of(weights: Mapping[str, Array]) -> dict[str, Arrays]:
    """Group a ``state_dict`` as ``{"l0.forward": {"weight_ih": …}, "l0.backward": …}``."""
    layers: dict[str, Arrays] = {}
    for name, array in weights.items():
        if name.startswith("gru."):
            parameter, _, rest = name.removeprefix("gru.").rpartition("_l")
            number, _, reverse = rest.partition("_")
            direction = "backward" if reverse else "forward"
            layers.setdefault(f"l{number}.{direction}", {})[parameter] = array
    return {name: layers[name] for name in sorted(layers, key=_walking_order)}


def _walking_order(layer: str) -> tuple[int, bool]:
    return _number(layer), layer.endswith("backward")


def _number(layer: str) -> int:
    return int(layer.partition(".")[0].removeprefix("l"))


def _members(arrays: Mapping[str, object], number: int) -> list[str]:
    """Name the directions of one layer, forward first."""
    return [name for name in arrays if _number(name) == number]


def _of_layer(arrays: Mapping[str, Array], number: int) -> Array:
    return np.concatenate([arrays[name] for name in _members(arrays, number)], axis=-1)


def _split_layer(arrays: Mapping[str, Array], number: int, joined: Array) -> Arrays:
    names = _members(arrays, number)
    return dict(zip(names, np.split(joined, len(names), axis=-1), strict=True))


def _full_name(parameter: str, layer: str) -> str:
    number, _, direction = layer.partition(".")
    return f"gru.{parameter}_{number}" + ("_reverse" if direction == "backward" else "")


def cross_entropy(logits_BC: Array, labels_B: Array) -> tuple[float, Array]:
    """Return the mean cross entropy and its derivative by the logits.

    One logit per sequence means a binary task with labels 0 and 1: the loss is
    log(1 + e^-s) with s the logit signed by the label. Otherwise it is log sum e^logit - logit_y.
    """
    batch = len(labels_B)
    if logits_BC.shape[1] == 1:
        signed_B = np.where(labels_B == 1, logits_BC[:, 0], -logits_BC[:, 0])
        loss_B = np.logaddexp(0.0, -signed_B)
    else:
        shifted_BC = logits_BC - logits_BC.max(axis=1, keepdims=True)
        loss_B = np.log(np.exp(shifted_BC).sum(axis=1)) - shifted_BC[np.arange(batch), labels_B]
    return loss_B.mean(), (probabilities(logits_BC) - targets(labels_B, logits_BC)) / batch


def probabilities(logits_BC: Array) -> Array:
    """Return softmax, or for one logit the sigmoid."""
    if logits_BC.shape[1] == 1:
        return sigmoid(logits_BC)
    raised_BC = np.exp(logits_BC - logits_BC.max(axis=1, keepdims=True))
    shares_BC: Array = raised_BC / raised_BC.sum(axis=1, keepdims=True)
    return shares_BC


def clipped_cross_entropy(
    probabilities_BC: Array, labels_B: Array, epsilon: float = 1e-7
) -> tuple[float, Array]:
    """Return Keras' cross entropy from probabilities and its derivative by the probabilities.

    ``categorical_crossentropy`` divides by the sum, ``binary_crossentropy`` does not; both clip to
    [epsilon, 1 - epsilon] (keras/src/backend/tensorflow/nn.py). Where it clips, nothing flows back.
    """
    p_BC, y_BC = probabilities_BC, targets(labels_B, probabilities_BC)
    binary = p_BC.shape[1] == 1
    total_B1 = np.ones_like(p_BC) if binary else p_BC.sum(axis=1, keepdims=True)
    q_BC = np.clip(p_BC / total_B1, epsilon, 1.0 - epsilon)
    loss_BC = -y_BC * np.log(q_BC) - (1.0 - y_BC) * np.log(1.0 - q_BC) * binary
    d_q_BC = (-y_BC / q_BC + (1.0 - y_BC) / (1.0 - q_BC) * binary) / len(p_BC)
    d_q_BC = np.where(q_BC == p_BC / total_B1, d_q_BC, 0.0)
    if binary:
        return loss_BC.sum(axis=1).mean(), d_q_BC
    through_sum_B1 = (d_q_BC * p_BC).sum(axis=1, keepdims=True) / total_B1
    return loss_BC.sum(axis=1).mean(), (d_q_BC - through_sum_B1) / total_B1


def targets(labels_B: Array, like_BC: Array) -> Array:
    """Return one-hot rows, or for one column the labels 0 and 1 themselves."""
    if like_BC.shape[1] == 1:
        return labels_B[:, None].astype(like_BC.dtype)
    return np.eye(like_BC.shape[1], dtype=like_BC.dtype)[labels_B]
