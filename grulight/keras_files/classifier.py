"""A ported Keras model in the place of GRUNet: padded sequences in, logits out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from grulight.errors import InputError
from grulight.keras_files.activations import activation_name
from grulight.keras_files.plain import Json
from grulight.keras_files.port import PortedModel
from grulight.keras_files.spec import Graph, LayerSpec

EPSILON = 1e-7  # where Keras clips probabilities before it takes their logarithm
HEADS = ("softmax", "sigmoid")


class PortedNetwork(nn.Module):
    """Name the class of a sequence with a ported Keras model.

    The model answers with probabilities. Their logarithms, clipped as Keras' cross entropy clips
    them (``keras.config.epsilon()``), are logits of the same probabilities.

    Args:
        model: A model with one input (batch, time, feature) and one output (batch, class), whose
            last activation is softmax, or sigmoid with one unit.

    Raises:
        InputError: The model is another one.
    """

    def __init__(self, model: PortedModel) -> None:
        super().__init__()
        graph = model.network.graph
        self.model = model
        self.input_size = _input_size(graph)
        [row_shapes] = {model.table[-1].output_shapes}
        self.head = _head(graph)
        self.num_outputs = _num_outputs(row_shapes[0], self.head)

    @property
    def num_classes(self) -> int:
        """Classes that the model tells apart."""
        return max(2, self.num_outputs)

    @property
    def description(self) -> Mapping[str, Json]:
        """The model as plain data; see ``PortedModel``."""
        return self.model.description

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits (batch, label) for padded sequences (batch, time, feature).

        Padding is zero, which the model sees unless it has a Masking layer.
        """
        if lengths is not None:
            steps = torch.arange(values.shape[1], device=values.device)
            values = values.masked_fill((steps >= lengths[:, None])[:, :, None], 0.0)
        answer = self.model(values)
        assert isinstance(answer, Tensor)
        clipped = answer.clamp(EPSILON, 1 - EPSILON)
        return clipped.log() if self.head == "softmax" else clipped.logit()


def _input_size(graph: Graph) -> int:
    if len(graph.inputs) != 1 or len(graph.shapes[0]) != 3 or graph.shapes[0][2] is None:
        shapes = ", ".join(map(str, graph.shapes))
        raise InputError(
            f"a model with inputs of shape {shapes} cannot label sequences here; expected one "
            "input (batch, time, feature). `grulight.load_keras` runs it from Python."
        )
    return graph.shapes[0][2]


def _head(graph: Graph) -> str:
    last = _last_layer(graph)
    name = "softmax" if last.kind == "Softmax" else activation_name(last, "activation")
    if len(graph.outputs) != 1 or name not in HEADS:
        raise InputError(
            f"a model that ends in {last.kind} with activation {name} is no classifier; expected "
            f"one output with {' or '.join(HEADS)}. `grulight.load_keras` runs it from Python."
        )
    return name


def _last_layer(graph: Graph) -> LayerSpec:
    last = graph.layers[graph.outputs[0].layer]
    return last if last.graph is None else _last_layer(last.graph)


def _num_outputs(shape: tuple[int | None, ...], head: str) -> int:
    if len(shape) != 2 or shape[1] is None or (head == "sigmoid" and shape[1] != 1):
        raise InputError(
            f"a model with {head} output {shape} answers per step or per label; expected one "
            "class per sequence. `grulight.load_keras` runs it from Python."
        )
    return shape[1]
