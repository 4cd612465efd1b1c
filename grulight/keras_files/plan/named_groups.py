"""Which layer each array is of, where only the arrays' names tell: as in TensorFlow.js' files.

A name begins with its layer's, which lies in the model or in one inside it. Where the names are
those of another building of the model (`gru_1_3/kernel` for `gru_1`), the order tells: the
converter goes through the layers as HDF5 lists them, by the alphabet.
"""

from collections.abc import Iterator
from itertools import islice

from grulight.errors import InputError
from grulight.keras_files.plan.array_checks import is_counter, standard_name
from grulight.keras_files.plan.spec import Graph
from grulight.keras_files.plan.variables import Variable, Variables, flat_variables
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.untrusted_text import quote
from grulight.keras_files.reader.weight_groups import LegacyWeights, NamedWeights

MAX_PARTS = 32  # of a name
ORDER = (
    *("kernel", "recurrent_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"),
    *("embeddings", "alpha"),
)


def grouped(
    weights: NamedWeights, variables: Variables, graph: Graph, whole: bool
) -> LegacyWeights:
    """Return the arrays by the layer that takes them.

    Args:
        weights: What the file has.
        variables: What the layers of the graph need, by layer name.
        graph: The model.
        whole: Whether the layers are all of the file's.

    Raises:
        InputError: Nothing tells of which layer an array is.
    """
    owners = _owners(graph)
    layers: dict[str, list[Stored]] = {name: [] for name in variables}
    strays: list[str] = []
    for name, stored in weights.arrays.items():
        if (owner := _owner(name, owners)) is not None:
            layers.setdefault(owner, []).append(stored)
        else:
            strays.append(name)
    if strays and whole:
        return _in_order(weights, variables, owners, strays[0])
    return LegacyWeights({name: _in_their_order(held) for name, held in layers.items()})


def _in_their_order(arrays: list[Stored]) -> tuple[Stored, ...]:
    """Return a layer's arrays with those under one name in Keras' order, wherever they lay."""
    found = [*arrays]
    scopes: dict[str, list[int]] = {}
    for at, stored in enumerate(arrays):
        scopes.setdefault(stored.name.rpartition("/")[0], []).append(at)
    for places in scopes.values():
        names = [standard_name(arrays[at]) or "" for at in places]
        if all(name in ORDER for name in names):
            wanted = sorted(places, key=lambda at: ORDER.index(standard_name(arrays[at]) or ""))
            for at, source in zip(places, wanted, strict=True):
                found[at] = arrays[source]
    return tuple(found)


def _owners(graph: Graph) -> dict[str, str | None]:
    """Return the layer of the model that each name leads to; None where there are several."""
    owners: dict[str, str | None] = {name: name for name, _ in graph.siblings}
    for name, layer in graph.layers.items():
        for inside in _inside(layer.graph):
            owners[inside] = name if owners.get(inside, name) == name else None
    return owners


def _inside(graph: Graph | None) -> Iterator[str]:
    """Yield the names of all layers of a model within."""
    if graph is None:
        return
    yield from (name for name, _ in graph.siblings)
    for layer in graph.layers.values():
        yield from _inside(layer.graph)


def _owner(name: str, owners: dict[str, str | None]) -> str | None:
    """Return the layer that the name of an array begins with, after a model's name or none."""
    parts = name.split("/")[:-1][:MAX_PARTS]
    for start in range(len(parts)):
        for end in range(len(parts), start, -1):  # a layer's name may have slashes itself
            found = "/".join(parts[start:end])
            if found in owners:
                return owners[found]
    return None


def _in_order(
    weights: NamedWeights, variables: Variables, owners: dict[str, str | None], stray: str
) -> LegacyWeights:
    """Return the arrays by layer as the converter lists them; their shapes are checked later."""
    arrays = iter([stored for stored in weights.arrays.values() if not is_counter(stored)])
    layers: dict[str, tuple[Stored, ...]] = {}
    taken: set[str] = set()
    fits = True
    for name in sorted(variables):
        layers[name] = tuple(islice(arrays, _count(variables[name])))
        scopes = {stored.name.rpartition("/")[0] for stored in layers[name]}
        others = {_owner(stored.name, owners) for stored in layers[name]} - {None, name}
        fits = fits and len(layers[name]) == _count(variables[name]) and not taken & scopes | others
        taken |= scopes
    if not fits or next(arrays, None) is not None:
        raise InputError(
            f"no layer takes the array {quote(stray)}: the configuration is of another model."
        )
    return LegacyWeights(layers)


def _count(held: Variable | Variables) -> int:
    return len([*flat_variables(held)]) if isinstance(held, dict) else 1
