"""How Keras lays out GRU and Dense weights and how PyTorch does: one table, both ways, bit for bit.

Keras keeps one matrix per layer with the gates side by side in columns, z, r, h, and multiplies
from the right (keras/src/layers/rnn/gru.py). PyTorch stacks the gates in rows, r, z, n, and
multiplies from the left (the documentation of ``torch.nn.GRU``; its n is Keras' h). Numbers are
only moved, never computed with, so each function here has an exact inverse.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
Gates = tuple[str, ...]

KERAS_GATES: Gates = ("z", "r", "h")
TORCH_GATES: Gates = ("r", "z", "h")  # PyTorch's documentation calls the third gate n

# torch parameter, Keras variable, row of that variable (None: all of it, transposed)
GRU_TABLE = (
    ("weight_ih", "kernel", None),
    ("weight_hh", "recurrent_kernel", None),
    ("bias_ih", "bias", 0),
    ("bias_hh", "bias", 1),
)
DENSE_TABLE = (("weight", "kernel"), ("bias", "bias"))
DENSE = "dense"
DIRECTIONS = {"forward": "", "backward": "_reverse"}  # Keras' word: PyTorch's suffix


def reorder(stacked: Array, source: Gates, target: Gates, axis: int) -> Array:
    """Restack gate blocks from one framework's order to the other's."""
    blocks = dict(zip(source, np.split(stacked, len(source), axis), strict=True))
    return np.concatenate([blocks[gate] for gate in target], axis)


def gru_to_torch(layer: Mapping[str, Array]) -> Arrays:
    """Turn one Keras GRU layer into torch parameters without layer suffix.

    Args:
        layer: ``kernel`` (I, 3H), ``recurrent_kernel`` (H, 3H) and, where the layer has one,
            ``bias``: (2, 3H) with ``reset_after=True``, (3H,) with ``reset_after=False``, whose
            cell has no recurrent bias and therefore gets no ``bias_hh``.
    """
    parameters = {}
    for ours, theirs, row in GRU_TABLE:
        if row is None:
            parameters[ours] = reorder(layer[theirs].T, KERAS_GATES, TORCH_GATES, axis=0)
        elif theirs in layer:
            rows = np.atleast_2d(layer[theirs])
            if row < len(rows):
                parameters[ours] = reorder(rows[row], KERAS_GATES, TORCH_GATES, axis=0)
    return parameters


def gru_to_keras(parameters: Mapping[str, Array]) -> Arrays:
    """Turn the torch parameters of one GRU layer and direction into a Keras layer.

    The inverse of ``gru_to_torch``: without ``bias_hh`` the bias is that of
    ``reset_after=False``, without both biases there is none.
    """
    layer = {}
    rows = []
    for ours, theirs, row in GRU_TABLE:
        if row is None:
            layer[theirs] = reorder(parameters[ours], TORCH_GATES, KERAS_GATES, axis=0).T.copy()
        elif ours in parameters:
            rows.append(reorder(parameters[ours], TORCH_GATES, KERAS_GATES, axis=0))
    if rows:
        layer["bias"] = np.stack(rows) if len(rows) > 1 else rows[0]
    return layer


def dense_to_torch(layer: Mapping[str, Array]) -> Arrays:
    """Turn a Keras Dense layer (kernel (I, O), bias (O,)) into the parameters of ``nn.Linear``."""
    return {ours: layer[theirs].T.copy() for ours, theirs in DENSE_TABLE if theirs in layer}


def dense_to_keras(parameters: Mapping[str, Array]) -> Arrays:
    """Turn the parameters of ``nn.Linear`` into a Keras Dense layer."""
    return {theirs: parameters[ours].T.copy() for ours, theirs in DENSE_TABLE if ours in parameters}


def network_to_keras(parameters: Mapping[str, Array]) -> Arrays:
    """Turn the ``state_dict`` of a GRUNet into Keras variables.

    Every layer and direction of ``gru.*`` becomes ``gru_<layer>/<direction>/<variable>``,
    ``head.*`` becomes ``dense/<variable>``.
    """
    layers: dict[str, Arrays] = {}
    for name, array in parameters.items():
        layer, parameter = _split_torch_name(name)
        layers.setdefault(layer, {})[parameter] = array
    return {
        f"{layer}/{variable}": array
        for layer, arrays in layers.items()
        for variable, array in (dense_to_keras if layer == DENSE else gru_to_keras)(arrays).items()
    }


def network_to_torch(variables: Mapping[str, Array]) -> Arrays:
    """Turn Keras variables as ``network_to_keras`` names them into a GRUNet's ``state_dict``."""
    layers: dict[str, Arrays] = {}
    for name, array in variables.items():
        layer, _, variable = name.rpartition("/")
        layers.setdefault(layer, {})[variable] = array
    return {
        _join_torch_name(layer, parameter): array
        for layer, arrays in layers.items()
        for parameter, array in (dense_to_torch if layer == DENSE else gru_to_torch)(arrays).items()
    }


def cudnn_to_keras(layer: Mapping[str, Array]) -> Arrays:
    """Turn a CuDNNGRU layer (flat bias (6H,)) into the layout of ``GRU(reset_after=True)``."""
    return cudnn_kernels(layer, len(KERAS_GATES)) | {"bias": layer["bias"].reshape(2, -1)}


def cudnn_kernels(layer: Mapping[str, Array], gates: int) -> Arrays:
    """Turn the kernels of a CuDNN layer into the layout of Keras' others.

    After ``_convert_rnn_weights`` of tf-keras (src/saving/legacy/hdf5_format.py): cuDNN keeps each
    input block row-major of its transpose and each recurrent block transposed.
    """

    def rowmajor(block: Array) -> Array:
        return block.T.reshape(block.shape, order="F")

    return {
        "kernel": _per_gate(layer["kernel"], rowmajor, gates),
        "recurrent_kernel": _per_gate(layer["recurrent_kernel"], np.transpose, gates),
    }


def keras_to_cudnn(layer: Mapping[str, Array]) -> Arrays:
    """Undo ``cudnn_to_keras``."""
    return {
        "kernel": _per_gate(layer["kernel"], lambda block: block.T.reshape(block.shape, order="C")),
        "recurrent_kernel": _per_gate(layer["recurrent_kernel"], np.transpose),
        "bias": layer["bias"].reshape(-1),
    }


def _per_gate(
    stacked: Array, change: Callable[[Array], Array], gates: int = len(KERAS_GATES)
) -> Array:
    return np.hstack([change(block) for block in np.hsplit(stacked, gates)])


def _split_torch_name(name: str) -> tuple[str, str]:
    """Split ``gru.weight_ih_l0_reverse`` into ``gru_0/backward`` and ``weight_ih``."""
    if head := re.fullmatch(r"head\.(weight|bias)", name):
        return DENSE, head[1]
    match = re.fullmatch(r"gru\.((?:weight|bias)_[ih]h)_l(\d+)(_reverse)?", name)
    if match is None:
        raise ValueError(f"{name!r} is no parameter of a GRUNet: expected gru.* or head.*.")
    return f"gru_{match[2]}/{'backward' if match[3] else 'forward'}", match[1]


def _join_torch_name(layer: str, parameter: str) -> str:
    if layer == DENSE:
        return f"head.{parameter}"
    number, direction = layer.removeprefix("gru_").split("/")
    return f"gru.{parameter}_l{number}{DIRECTIONS[direction]}"
