"""A Keras file as a torch module, and that module again without the file."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grulight.checkpoint_files.reader import read_checkpoint, require_described, require_weights
from grulight.errors import InputError
from grulight.keras_files.layer_report import LayerRow, layer_rows
from grulight.keras_files.layers.base import Pick, Signal, Tree
from grulight.keras_files.layers.network import Network, trace
from grulight.keras_files.layers.operations import FUNCTIONS
from grulight.keras_files.layers.registry import portable
from grulight.keras_files.plan.graph import Reading, parse_model
from grulight.keras_files.plan.placement import place
from grulight.keras_files.plan.spec import Graph, LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables
from grulight.keras_files.reader.compiled import Compiled
from grulight.keras_files.reader.container import ZIP_MAGIC, Container, read_container
from grulight.keras_files.reader.untrusted_text import Json, naming, quote, reading
from grulight.keras_files.reader.versions import KerasVersion

_ZIP_NAME = 30  # where the name of the first member stands in a zip (APPNOTE.TXT 4.3.7)
MOST_SHAPES = 1000  # of inputs that are remembered
FORMAT = 1  # of a description; raised when an old one can no longer be read


class PortedModel(nn.Module):
    """A Keras model in torch.

    Called with tensors in the order of the file's inputs, or by the inputs' names; returns one
    tensor, or a tuple in the order of the file's outputs.

    Attributes:
        network: The layers and the calls between them.
        description: What the model is, as numbers, texts, lists and dictionaries: with the
            `state_dict` it makes the model again (`rebuild`).
        table: One row per layer.
        ignored: What else was in the file, in words.
    """

    def __init__(self, graph: Graph, arrays: Tree, description: dict[str, Json]) -> None:
        super().__init__()
        version = KerasVersion.parse(description["keras_version"], "3")
        self.network = Network(LayerSpec("model", "Functional", {}, version, graph=graph), arrays)
        self.description = description
        self.table: tuple[LayerRow, ...] = layer_rows(graph, self.network)
        self.ignored: tuple[str, ...] = tuple(description["ignored"])
        self._seen: set[tuple[Shape, ...]] = set()  # shapes of inputs that are known to do
        if any(each.dtype == torch.float64 for each in self.state_dict().values()):
            self.double()

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return self.network.graph.input_names

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the model's output, or a tuple of them."""
        values = tuple(each.value for each in self.signals(*inputs, **named))
        return values if len(values) > 1 else values[0]

    def signals(self, *inputs: Tensor, **named: Tensor) -> tuple[Signal, ...]:
        """Return the outputs with the masks that Keras would attach to them."""
        names = self.input_names
        given = dict(zip(names, inputs, strict=False)) | named
        if len(inputs) + len(named) != len(names) or set(given) != set(names):
            raise TypeError(
                f"expected {len(names)} tensors for {', '.join(names)}, got {len(inputs)} by place "
                f"and {', '.join(named) or 'none'} by name."
            )
        if not torch.compiler.is_compiling():
            self._require_room(tuple(tuple(given[name].shape) for name in names))
        outputs: tuple[Signal, ...] = self.network(
            *(Signal(self._cast(given[name])) for name in names)
        )
        return outputs

    def _require_room(self, shapes: tuple[Shape, ...]) -> None:
        """Refuse inputs of which the file would make far more than any model needs."""
        if shapes not in self._seen:
            trace(self.network.graph, shapes)
            if len(self._seen) >= MOST_SHAPES:
                self._seen.clear()
            self._seen.add(shapes)

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.network.dtype) if tensor.is_floating_point() else tensor

    def keras_arrays(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the arrays in Keras' layout by layer, or what ``pick`` takes of each parameter."""
        return self.network.to_keras(pick)


def load_keras(
    path: str | Path,
    *,
    config: str | Path | dict[str, Any] | None = None,
    up_to: str | None = None,
) -> PortedModel:
    """Open a Keras model file of any generation in torch; nothing in the file is run.

    Args:
        path: `.keras`, `.h5`, `.hdf5` or `.weights.h5`, or a checkpoint of `grulight port` or of
            a training with `--model.from_keras`; the content decides, not the name.
        config: For a file of weights alone, the model's JSON (`model.to_json()`): a file, or the
            dictionary in it.
        up_to: Port the model up to this layer: its output, or its input where it cannot be ported.

    Raises:
        InputError: The file is damaged, refused, or has a layer that cannot be ported.

    Warns:
        UserWarning: A layer is stateful; state is not kept between calls.
    """
    path = Path(path)
    with reading(path):
        if _is_checkpoint(path):
            return _from_checkpoint(path, config, up_to)
        with naming(path):
            model = _ported(path, config, up_to)
        _warn_of_state(path, model)
        return model


def _ported(
    path: Path, config: str | Path | dict[str, Any] | None, up_to: str | None
) -> PortedModel:
    container = read_container(path, config)
    description = _described(container, up_to)
    graph, variables = _planned(description)
    arrays = place(variables, container.weights, graph)
    description |= {"shapes": arrays.shapes(), "dtype": arrays.dtype()}
    description["ignored"] += [
        f"that models share {quote(each)}, each has its own copy" for each in arrays.shared()
    ]
    return _built(graph, arrays, description)


def _warn_of_state(path: Path, model: PortedModel) -> None:
    """Say that a stateful layer starts every call from zero, where Keras goes on."""
    if stateful := [row.name for row in model.table if "stateful True" in row.ignored]:
        warnings.warn(
            f"{quote(path)}: {quote(stateful[0])} is stateful in Keras, which keeps its state from "
            "one batch to the next; the port starts every call from zero.",
            stacklevel=3,
        )


def _is_checkpoint(path: Path) -> bool:
    """Return whether a file is a zip that begins as torch's do, with `…/data.pkl`."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_ZIP_NAME + 255)
    name = head[_ZIP_NAME:][: int.from_bytes(head[26:28], "little")]
    return head.startswith(ZIP_MAGIC) and name.endswith(b"/data.pkl")


def _from_checkpoint(path: Path, config: object, up_to: str | None) -> PortedModel:
    """Make the Keras model of a checkpoint again."""
    checkpoint = read_checkpoint(path)
    settings = checkpoint.get("hyper_parameters", {})
    description = checkpoint.get("keras_model") or settings.get("from_keras")
    if description is None or config is not None or up_to is not None:
        raise InputError(
            f"{path}: is a checkpoint, and {'takes no config or up_to' if description else ''}"
            f"{'' if description else 'holds no Keras model; grulight.load_classifier opens it'}."
        )
    prefix = "" if "keras_model" in checkpoint else "network.model."
    state = {
        name.removeprefix(prefix): held
        for name, held in checkpoint.get("state_dict", {}).items()
        if name.startswith(prefix)
    }
    require_described(path, description, state)
    with naming(path):
        model = rebuild(description)
    require_weights(path, model.state_dict(), state)
    model.load_state_dict(state)
    return model


def _described(container: Container, up_to: str | None) -> dict[str, Json]:
    compiled = container.compiled if up_to is None else Compiled()
    description: dict[str, Json] = {
        "format": FORMAT,
        "keras_version": container.version.text,
        "backend": container.version.backend,
        "model": {key: container.config.get(key) for key in ("class_name", "config")},
        "up_to": up_to,
        "loss": compiled.loss.known,
        "ignored": list(container.ignored),
    }
    # without this key a model trains as one of an older checkpoint does
    return description if compiled.as_ever else description | {"compiled": compiled.described}


def rebuild(description: Mapping[str, Json]) -> PortedModel:
    """Make a ported model again from its description; `load_state_dict` gives it its weights.

    Raises:
        InputError: The description is of another format, or is not one.
    """
    description = dict(description)
    if description.get("format") != FORMAT:
        raise InputError(
            f"a model description of format {quote(description.get('format'))}, expected {FORMAT}. "
            "Port the Keras file again."
        )
    graph, variables = _planned(description)
    _require_shapes(variables, description["shapes"])
    arrays = _zeros(description["shapes"], np.dtype(description["dtype"]))
    return _built(graph, arrays, description)


def _planned(description: Mapping[str, Json]) -> tuple[Graph, Variables]:
    """Return the graph and the arrays it needs."""
    version = KerasVersion.parse(description["keras_version"], "3", description["backend"])
    reading = Reading(version, description["up_to"], portable, FUNCTIONS)
    graph = parse_model(description["model"], reading)
    spec = LayerSpec("model", "Functional", {}, version, graph=graph)
    return graph, Network.variables(spec, graph.shapes)


def _require_shapes(variables: Variables, shapes: Mapping[str, Json]) -> None:
    """Refuse shapes that are not those of the layers' arrays.

    Raises:
        InputError: They are others.
    """
    if variables.keys() != shapes.keys():
        raise InputError("a model description whose shapes are not those of its layers.")
    for name, held in variables.items():
        shape = shapes[name]
        if isinstance(held, dict) and isinstance(shape, dict):
            _require_shapes(held, shape)
        elif isinstance(held, dict) or isinstance(shape, dict) or not _fits(shape, held.shapes):
            raise InputError(f"a model description whose {quote(name)} has another shape.")


def _fits(shape: list[int], right: tuple[Shape, ...]) -> bool:
    return any(
        len(shape) == len(each)
        and all(want in (None, size) for size, want in zip(shape, each, strict=True))
        for each in right
    )


def _zeros(shapes: Mapping[str, Json], dtype: np.dtype[Any]) -> Tree:
    return {
        name: _zeros(held, dtype) if isinstance(held, dict) else np.zeros(held, dtype)
        for name, held in shapes.items()
    }


def _built(graph: Graph, arrays: Tree, description: dict[str, Json]) -> PortedModel:
    model = PortedModel(graph, arrays, description)
    model.eval()
    return model
