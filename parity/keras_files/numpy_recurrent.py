"""Keras' recurrent layers in NumPy, from Keras' documentation, with masks and initial states.

A masked step keeps the state and puts out what the step before did, or zero.
"""

from collections.abc import Callable, Sequence

import numpy as np

from parity.keras_files.numpy_layers import Weights, function
from parity.keras_files.numpy_model import WRAPPED, Layer, NotFollowedError
from parity.question import Array

RECURRENT = ("GRU", "LSTM", "SimpleRNN", "Bidirectional")
States = list[Array]
Cell = Callable[[Array, States], States]  # a step's input and the states before it; output first


def recurrent(
    layer: Layer, x: Array, own: Weights, mask: Array | None, states: Sequence[Array] = ()
) -> tuple[list[Array], Array | None]:
    """Return the outputs, states after them where asked for, and the mask that is handed on."""
    whole, given = bool(layer.settings.get("return_sequences")), layer.settings
    if layer.kind == "Bidirectional":
        return [_both(layer, x, own, mask, states)], mask if _sequences(layer) else None
    if given.get("stateful") or given.get("time_major"):
        raise NotFollowedError(f"stateful or time_major in {layer.name}")
    outputs, last = _scan(layer, x, own, mask, states)
    found = [outputs if whole else outputs[:, -1], *(last if given.get("return_state") else ())]
    return found, mask if whole else None


def _sequences(layer: Layer) -> bool:
    return bool(layer.inner[0].settings.get("return_sequences"))


def _both(
    layer: Layer, x: Array, own: Weights, mask: Array | None, states: Sequence[Array]
) -> Array:
    """Return both directions, both in the order of time, merged."""
    if states or any(each.settings.get("return_state") for each in layer.inner):
        raise NotFollowedError(f"states of {layer.name}")
    ways = []
    for part, inner in zip(WRAPPED["Bidirectional"], layer.inner, strict=True):
        arrays = {n.removeprefix(f"{part}/"): a for n, a in own.items() if n.startswith(part)}
        zero = layer.written.in_tensorflow and _sequences(layer)
        y, _ = _scan(inner, x, arrays, mask, (), zero)
        turned = part == "backward_layer"
        ways.append((y[:, ::-1] if turned else y) if _sequences(layer) else y[:, -1])
    ours, back = ways
    mode = layer.settings.get("merge_mode", "concat")
    merges = {"sum": ours + back, "mul": ours * back, "ave": (ours + back) / 2}
    merged = np.concatenate(ways, -1) if mode == "concat" else merges.get(mode)
    if merged is None:
        raise NotFollowedError(f"merge_mode {mode} of {layer.name}")
    return merged


def _scan(
    layer: Layer,
    x: Array,
    own: Weights,
    mask: Array | None,
    states: Sequence[Array],
    zero: bool | None = None,
) -> tuple[Array, States]:
    """Return the outputs in the order of the scan, and the last states."""
    units = len(own["recurrent_kernel"])
    count = 2 if layer.kind == "LSTM" else 1
    held = [*states] or [np.zeros((len(x), units)) for _ in range(count)]
    zero = bool(layer.settings.get("zero_output_for_mask")) if zero is None else zero
    step, outputs, before = CELLS[layer.kind](layer, own), [], np.zeros((len(x), units))
    for t in range(x.shape[1])[:: -1 if layer.settings.get("go_backwards") else 1]:
        new = step(x[:, t] @ own["kernel"], held)
        read = np.ones((len(x), 1), bool) if mask is None else mask[:, t, None]
        held = [np.where(read, each, old) for each, old in zip(new, held, strict=True)]
        before = np.where(read, new[0], 0.0 if zero else before)
        outputs.append(before)
    return np.stack(outputs, 1), held


def _gru(layer: Layer, own: Weights) -> Cell:
    """Return h' = z h + (1 - z) n, gates in the order z, r, h (keras.layers.GRU)."""
    gate = function(layer, "recurrent_activation", _gate(layer))
    activation = function(layer, "activation", "tanh")
    after = layer.settings.get("reset_after", layer.written.major >= 3)
    u_z, u_r, u_n = np.split(own["recurrent_kernel"], 3, axis=1)
    rows = np.atleast_2d(own.get("bias", np.zeros((1, 3 * len(u_z)))))
    b_z, b_r, b_n = np.split(rows[0], 3)
    c_z, c_r, c_n = np.split(rows[1] if after and len(rows) > 1 else 0.0 * rows[0], 3)

    def step(x: Array, states: States) -> States:
        [h] = states
        x_z, x_r, x_n = np.split(x, 3, axis=1)
        z, r = gate(x_z + b_z + h @ u_z + c_z), gate(x_r + b_r + h @ u_r + c_r)
        inner = r * (h @ u_n + c_n) if after else (r * h) @ u_n
        return [z * h + (1.0 - z) * activation(x_n + b_n + inner)]

    return step


def _lstm(layer: Layer, own: Weights) -> Cell:
    """Return c' = f c + i g, h' = o act(c'), gates in the order i, f, c, o (keras.layers.LSTM)."""
    gate = function(layer, "recurrent_activation", _gate(layer))
    activation = function(layer, "activation", "tanh")

    def step(x: Array, states: States) -> States:
        h, c = states
        i, f, g, o = np.split(x + own.get("bias", 0.0) + h @ own["recurrent_kernel"], 4, axis=1)
        c = gate(f) * c + gate(i) * activation(g)
        return [gate(o) * activation(c), c]

    return step


def _simple(layer: Layer, own: Weights) -> Cell:
    """Return h' = act(x W + h U + b) (keras.layers.SimpleRNN)."""
    activation = function(layer, "activation", "tanh")
    return lambda x, states: [
        activation(x + own.get("bias", 0.0) + states[0] @ own["recurrent_kernel"])
    ]


def _gate(layer: Layer) -> str:
    return "sigmoid" if layer.written.in_tensorflow else "hard_sigmoid"


CELLS: dict[str, Callable[[Layer, Weights], Cell]] = {
    "GRU": _gru,
    "LSTM": _lstm,
    "SimpleRNN": _simple,
}
