"""A ported model as plain data, from which it is made again without the Keras file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from grulight.errors import InputError, one_line
from grulight.keras_files.layers.base import Tree
from grulight.keras_files.layers.network import Network
from grulight.keras_files.layers.operations import FUNCTIONS
from grulight.keras_files.layers.registry import portable
from grulight.keras_files.plan.array_checks import fits
from grulight.keras_files.plan.front_ends import id_names
from grulight.keras_files.plan.graph import parse_model
from grulight.keras_files.plan.parse_context import ParseContext, Progress
from grulight.keras_files.plan.spec import Graph, LayerSpec
from grulight.keras_files.plan.variables import Variables
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.reader.compiled import Compiled
from grulight.keras_files.reader.contents import Container
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.reader.versions import KerasVersion
from grulight.keras_files.reader.vocabulary import MAX_LETTERS, Words
from grulight.keras_files.unsupported import require_supported

FORMAT = 1  # of a description; raised when an old one can no longer be read


def describe(container: Container, up_to: str | None) -> dict[str, Json]:
    """Return what a file says of its model, up to a layer if one is named."""
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


def id_names_of(graph: Graph, vocabularies: Mapping[str, Words]) -> dict[str, list[str]]:
    """Return what each id stands for, by input, where layers that made ids were cut away.

    Args:
        graph: The model.
        vocabularies: The words of such layers by their names, where the file has them apart.
    """
    found = {}
    for each in graph.front_ends:
        words = vocabularies.get(each.layer)
        names = each.names if words is None else id_names(each.kind, each.config, words)
        if names is not None:
            found[each.input] = [one_line(name, MAX_LETTERS) for name in names]
    return found


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
    graph, variables = plan_model(description)
    _require_shapes(variables, description["shapes"])
    arrays = _zeros(description["shapes"], np.dtype(description["dtype"]))
    return build_model(graph, arrays, description)


def plan_model(description: Mapping[str, Json]) -> tuple[Graph, Variables]:
    """Return the graph of a description, and the arrays that it needs."""
    version = KerasVersion.parse(description["keras_version"], "3", description["backend"])
    context = ParseContext(version, description["up_to"], portable, FUNCTIONS)
    graph = parse_model(description["model"], context)

    def cut(name: str) -> Graph:
        return parse_model(description["model"], replace(context, up_to=name, progress=Progress()))

    require_supported(graph, cut)
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
        elif (
            isinstance(held, dict)
            or isinstance(shape, dict)
            or not any(fits(each, shape) for each in held.shapes)
        ):
            raise InputError(f"a model description whose {quote(name)} has another shape.")


def _zeros(shapes: Mapping[str, Json], dtype: np.dtype[Any]) -> Tree:
    return {
        name: _zeros(held, dtype) if isinstance(held, dict) else np.zeros(held, dtype)
        for name, held in shapes.items()
    }


def build_model(graph: Graph, arrays: Tree, description: dict[str, Json]) -> PortedModel:
    """Return the module of a graph with these arrays, in the mode of inference."""
    model = PortedModel(graph, arrays, description)
    model.eval()
    return model
