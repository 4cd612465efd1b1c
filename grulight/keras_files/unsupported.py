"""The refusal of a layer that is not supported, with only such advice as works."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import NamedTuple

from grulight.errors import InputError, option
from grulight.keras_files.layers.base import KINDS, unsupported_layer
from grulight.keras_files.plan.spec import Graph, LayerSpec

_LONGEST = 80  # characters of a name that someone would type


class Unsupported(NamedTuple):
    """A layer that is not supported.

    Attributes:
        spec: The layer.
        path: Names of the layers that it lies in, the outermost first, and its own.
    """

    spec: LayerSpec
    path: tuple[str, ...]


def require_supported(graph: Graph, cut: Callable[[str], Graph]) -> None:
    """Refuse a model with a layer that is not supported.

    Args:
        graph: The model.
        cut: Returns the part of it up to a layer.

    Raises:
        InputError: There is one; it names the place to cut the model at, if there is one.
    """
    found = _first(graph)
    if found is None:
        return
    names = dict.fromkeys(("/".join(found.path), found.path[0]))
    place = next((name for name in names if _can_cut(name, cut)), None)
    said = [str(unsupported_layer(found.spec))]
    if place is not None:
        said.append(f"{option('up_to', place)} ports the part before it.")
    if near := get_close_matches(found.spec.kind, _names(), cutoff=0.5):
        said.append(f"Near it: {', '.join(near)}.")
    raise InputError(" ".join((*said, "All that are: grulight/keras_files/README.md.")))


def _names() -> list[str]:
    return [kind for kind in KINDS if " " not in kind]  # operations have spaces


def _can_cut(name: str, cut: Callable[[str], Graph]) -> bool:
    if len(name) > _LONGEST or not name.isprintable():
        return False
    try:
        return _first(cut(name)) is None
    except InputError:
        return False


def _first(graph: Graph) -> Unsupported | None:
    found = (_within(layer, (name,)) for name, layer in graph.layers.items())
    return next(filter(None, found), None)


def _within(spec: LayerSpec, path: tuple[str, ...]) -> Unsupported | None:
    """Return the first layer that is not supported: this one, or one inside it."""
    if spec.kind not in KINDS:
        return Unsupported(spec, path)
    held = list(spec.inner.values())
    found = [_within(each, path) for each in held]
    if spec.graph is not None:
        found += [_within(each, (*path, name)) for name, each in spec.graph.layers.items()]
    return next(filter(None, found), None)
