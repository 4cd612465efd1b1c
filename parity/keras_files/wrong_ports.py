"""Known wrong ports of a Keras file, made with random weights; each must be told from the right."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from grulight.keras_files.layers.activations import new_hard_sigmoid, old_hard_sigmoid
from grulight.keras_files.layers.gru import ScanGRU
from parity.cases import Array, Arrays, Question
from parity.controls.wrong_ports import Fault
from parity.keras_files.ported_side import PortedSide
from parity.tolerances import Side

Layer = dict[str, Array]  # kernel, recurrent_kernel and maybe bias of one GRU in one direction


def faults_for(question: Question, side: PortedSide, answer: Arrays) -> list[Fault]:
    """Return the wrong ports that a model can show, given its right answer."""
    layers = grus(question.weights)
    recurring = set(layers) - set(single_steps(question, answer))
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
    if any(_same_sizes(layer, layers.get(_other(name))) for name, layer in layers.items()):
        found.append("directions swapped")
    if recurring and any(not scan.reset_after for scan in scans):
        found.append("reset after")
    if any(scan.gate is old_hard_sigmoid for scan in scans):
        found.append("new hard_sigmoid for an old file")
    if any(name.startswith("masked.") for name in question.inputs):
        found.append("padding read")
    return [Fault(name, FAULTS[name][0], "network", FAULTS[name][1]) for name in found]


def grus(weights: Arrays) -> dict[str, Layer]:
    """Return the arrays of every GRU by its path."""
    paths = [
        name.removesuffix("/recurrent_kernel")
        for name, array in weights.items()
        if name.endswith("recurrent_kernel") and array.shape == (len(array), 3 * len(array))
    ]
    return {
        path: {
            part: weights[f"{path}/{part}"]
            for part in ("kernel", "recurrent_kernel", "bias")
            if f"{path}/{part}" in weights
        }
        for path in paths
    }


def single_steps(question: Question, answer: Arrays) -> list[str]:
    """Return the GRUs whose state is zero whenever they use it, as those that read one step."""
    gradients = {path: answer[f"grad.{path}/recurrent_kernel"] for path in grus(question.weights)}
    return [path for path, gradient in gradients.items() if not gradient.any()]


def _of_layers(change: Callable[[Layer], Layer]) -> Callable[[Question, Side], Arrays]:
    def wrong(question: Question, ours: Side) -> Arrays:
        weights = dict(question.weights)
        for path, layer in grus(weights).items():
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


def _other(path: str) -> str:
    return path.replace("forward_layer", "backward_layer") if "forward_layer" in path else ""


def _same_sizes(layer: Layer, other: Layer | None) -> bool:
    return other is not None and {n: a.shape for n, a in layer.items()} == {
        n: a.shape for n, a in other.items()
    }


def _directions_swapped(question: Question, ours: Side) -> Arrays:
    weights = dict(question.weights)
    layers = grus(weights)
    for path, layer in layers.items():
        other = layers.get(_other(path))
        if other is not None and _same_sizes(layer, other):
            weights |= {f"{path}/{part}": array for part, array in other.items()}
            weights |= {f"{_other(path)}/{part}": array for part, array in layer.items()}
    return ours(replace(question, weights=weights))


def _padding_read(question: Question, ours: Side) -> Arrays:
    inputs = {n: a for n, a in question.inputs.items() if not n.startswith("masked.")}
    return ours(replace(question, inputs=inputs))


def _new_gate(scan: ScanGRU) -> None:
    if scan.gate is old_hard_sigmoid:
        scan.gate = new_hard_sigmoid


def _reset_after(scan: ScanGRU) -> None:
    scan.reset_after = True


FAULTS: dict[str, tuple[str, Callable[[Question, Side], Arrays]]] = {
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
