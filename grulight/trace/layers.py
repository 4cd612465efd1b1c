"""The layers of a network with their weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from grulight.heads import Head, LabelHead
from grulight.model import GRUNet

if TYPE_CHECKING:
    from grulight.keras_files.ported_network import PortedNetwork


class LayerRow(NamedTuple):
    """One layer; ``shapes`` are those of its weights, for a ported model of its outputs."""

    name: str
    kind: str
    shapes: str
    parameters: int


def id_words(network: "GRUNet | PortedNetwork", ids: NDArray[np.floating]) -> list[str]:
    """Return what ids (K,) stand for, where a ported file had words for them; else nothing."""
    if isinstance(network, GRUNet) or network.num_ids is None or not network.model.id_names:
        return []
    [names] = network.model.id_names.values()
    return [names[at] if at < len(names) else "" for at in ids.astype(int)]


def layer_rows(network: "GRUNet | PortedNetwork", head: Head) -> list[LayerRow]:
    """Return the layers in the order that a sequence passes them."""
    if not isinstance(network, GRUNet):
        return [
            LayerRow(row.name, row.keras, _shapes(row.output_shapes), row.parameters)
            for row in network.model.table
        ]
    weights: dict[str, list[Tensor]] = {}
    for parameter, weight in network.gru.named_parameters():
        number, _, reverse = parameter.partition("_l")[2].partition("_")
        name = f"l{number}.{'backward' if reverse else 'forward'}"
        weights.setdefault(name, []).append(weight)
    rows = [_row(layer_name(name, network), "GRU", held) for name, held in weights.items()]
    return [*rows, _row("dense", activation(head), list(network.head.parameters()))]


def activation(head: Head) -> str:
    """Return what follows the last layer of a GRUNet."""
    if not head.num_classes and not isinstance(head, LabelHead):
        return "linear"
    return "softmax" if head.num_classes > 2 else "sigmoid"


def layer_name(name: str, network: GRUNet) -> str:
    """Return what a layer and direction (``l0.forward``) is called on the page."""
    number, _, direction = name.removeprefix("l").partition(".")
    text = f"layer {int(number) + 1}"
    return f"{text}, {direction}" if network.gru.bidirectional else text


def _row(name: str, kind: str, weights: Sequence[Tensor]) -> LayerRow:
    shapes = _shapes([tuple(weight.shape) for weight in weights])
    return LayerRow(name, kind, shapes, sum(weight.numel() for weight in weights))


def _shapes(shapes: Sequence[tuple[int | None, ...]]) -> str:
    return ", ".join(
        " × ".join("any" if size is None else str(size) for size in shape) for shape in shapes
    )
