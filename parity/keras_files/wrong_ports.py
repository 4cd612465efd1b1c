"""Known wrong ports of a Keras file, made with random weights; each must be told from the right."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from grulight.keras_files.layers.activations import new_hard_sigmoid, old_hard_sigmoid
from grulight.keras_files.layers.gru import ScanGRU
from parity.controls.negative_control import NegativeControl
from parity.keras_files.gru_layers import (
    Layer,
    gru_layers,
    other_direction,
    same_sizes,
    single_step_layers,
)
from parity.keras_files.ported_side import PortedSide
from parity.question import Array, Arrays, Question, Side


def controls_for(question: Question, side: PortedSide, answer: Arrays) -> list[NegativeControl]:
    """Return the wrong ports that a model can show, given its right answer."""
    layers = gru_layers(question.weights)
    recurring = set(layers) - set(single_step_layers(question, answer))
    biases = [layer["bias"] for layer in layers.values() if "bias" in layer]
    scans = [each for each in side.models["float64"].modules() if isinstance(each, ScanGRU)]
    found = []
    if layers:
        found += ["gates not permuted", "update gate inverted"]
    if any(len(layers[path]["recurrent_kernel"]) > 1 for path in recurring):
        found.append("recurrent blocks transposed")
    if any(bias.ndim == 2 for bias in biases):
        found += ["bias rows swapped", "recurrent bias folded"]
    if biases:
        found.append("biases forgotten")
    if any(same_sizes(layer, layers.get(other_direction(name))) for name, layer in layers.items()):
        found.append("directions swapped")
    if recurring and any(not scan.reset_after for scan in scans):
        found.append("reset after")
    if any(scan.gate is old_hard_sigmoid for scan in scans):
        found.append("new hard_sigmoid for an old file")
    if any(name.startswith("masked.") for name in question.inputs):
        found.append("padding read")
    return [
        NegativeControl(name, WRONG_PORTS[name][0], "network", WRONG_PORTS[name][1])
        for name in found
    ]


def _of_layers(change: Callable[[Layer], Layer]) -> Callable[[Question, Side], Arrays]:
    def wrong(question: Question, ours: Side) -> Arrays:
        weights = dict(question.weights)
        for path, layer in gru_layers(weights).items():
            weights |= {f"{path}/{part}": array for part, array in change(layer).items()}
        return ours(replace(question, weights=weights))

    return wrong


def _of_module(change: Callable[[Any], None]) -> Callable[[Question, Side], Arrays]:
    def apply(module: nn.Module) -> None:
        if isinstance(module, ScanGRU):
            change(module)

    def wrong(question: Question, ours: Side) -> Arrays:
        assert isinstance(ours, PortedSide)
        return ours.changed(apply)(question)

    return wrong


def _blocks(array: Array) -> list[Array]:
    return np.split(array, 3, axis=-1)


def _gates_not_permuted(layer: Layer) -> Layer:
    """Hand r to where z belongs, as a port does that keeps Keras' order."""
    swapped = {}
    for part, array in layer.items():
        z, r, h = _blocks(array)
        swapped[part] = np.concatenate([r, z, h], axis=-1)
    return swapped


def _update_gate_inverted(layer: Layer) -> Layer:
    inverted = {}
    for part, array in layer.items():
        z, r, h = _blocks(array)
        inverted[part] = np.concatenate([-z, r, h], axis=-1)
    return inverted


def _recurrent_transposed(layer: Layer) -> Layer:
    blocks = [block.T for block in _blocks(layer["recurrent_kernel"])]
    return {"recurrent_kernel": np.concatenate(blocks, axis=-1)}


def _rows_swapped(layer: Layer) -> Layer:
    return {"bias": layer["bias"][::-1]} if _two_rows(layer) else {}


def _folded(layer: Layer) -> Layer:
    if not _two_rows(layer):
        return {}
    ours, theirs = layer["bias"]
    return {"bias": np.stack([ours + theirs, np.zeros_like(theirs)])}


def _forgotten(layer: Layer) -> Layer:
    return {"bias": np.zeros_like(layer["bias"])} if "bias" in layer else {}


def _two_rows(layer: Layer) -> bool:
    return "bias" in layer and layer["bias"].ndim == 2


def _directions_swapped(question: Question, ours: Side) -> Arrays:
    weights = dict(question.weights)
    layers = gru_layers(weights)
    for path, layer in layers.items():
        other = layers.get(other_direction(path))
        if other is not None and same_sizes(layer, other):
            weights |= {f"{path}/{part}": array for part, array in other.items()}
            weights |= {f"{other_direction(path)}/{part}": array for part, array in layer.items()}
    return ours(replace(question, weights=weights))


def _padding_read(question: Question, ours: Side) -> Arrays:
    inputs = {n: a for n, a in question.inputs.items() if not n.startswith("masked.")}
    return ours(replace(question, inputs=inputs))


def _new_gate(scan: ScanGRU) -> None:
    if scan.gate is old_hard_sigmoid:
        scan.gate = new_hard_sigmoid


def _reset_after(scan: ScanGRU) -> None:
    scan.reset_after = True


WRONG_PORTS: dict[str, tuple[str, Callable[[Question, Side], Arrays]]] = {
    "gates not permuted": (
        "the gates stay in Keras' order z, r, h",
        _of_layers(_gates_not_permuted),
    ),
    "update gate inverted": (
        "h = (1 - z) h + z n, as papers write it",
        _of_layers(_update_gate_inverted),
    ),
    "recurrent blocks transposed": (
        "the (H, H) blocks of the recurrent kernel are not transposed",
        _of_layers(_recurrent_transposed),
    ),
    "bias rows swapped": (
        "the first row of the bias is taken for the recurrent one",
        _of_layers(_rows_swapped),
    ),
    "recurrent bias folded": (
        "the recurrent bias is added to the input bias",
        _of_layers(_folded),
    ),
    "biases forgotten": ("the biases stay zero, as in a fresh layer", _of_layers(_forgotten)),
    "directions swapped": (
        "the backward layer is taken for the forward one",
        _directions_swapped,
    ),
    "reset after": (
        "the reset gate is applied after the matrix product (reset_after=True)",
        _of_module(_reset_after),
    ),
    "new hard_sigmoid for an old file": (
        "the gates use Keras 3's hard_sigmoid where Keras 2's was meant",
        _of_module(_new_gate),
    ),
    "padding read": ("masks are ignored and padding is read as data", _padding_read),
}
