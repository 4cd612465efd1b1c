"""Which object of a checkpoint is which layer of the configuration.

A model's object has its layers as `layer-0`, `layer-1`, ..., in the order of the configuration; a
Sequential leaves its InputLayer out. A SavedModel's metadata say the layers' names, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from grulight.errors import InputError
from grulight.keras_files.reader.object_graph import ObjectGraph
from grulight.keras_files.reader.untrusted_text import Json, quote

WRAPPED = ("layer", "forward_layer", "backward_layer")  # attributes under which layers hold layers
MAX_OBJECTS = 1000  # of a checkpoint's root that may be the model


@dataclass(frozen=True)
class ObjectWeights:
    """Variables that are found from the model's object on, by the names of attributes.

    Attributes:
        graph: The objects.
        root: The model's object.
        layers: The objects of each model's layers by name, by the number of the model's object.
    """

    graph: ObjectGraph
    root: int
    layers: Mapping[int, Mapping[str, int]]


def object_weights(
    graph: ObjectGraph, config: dict[str, Json], names: Mapping[int, str]
) -> ObjectWeights:
    """Find the objects of all layers.

    Args:
        graph: The objects.
        config: The model's configuration.
        names: What is known of layers' names, by object.

    Raises:
        InputError: There is no such model among the objects.
    """
    layers: dict[int, dict[str, int]] = {}
    root = _root(graph, _entries(config) or [], config.get("class_name") == "Sequential")
    queue: list[tuple[Json, int]] = [(config, root)]
    while queue:
        entry, node = queue.pop()
        entries = _entries(entry)
        if entries is not None:
            held = _matched(graph, node, entries, names, entry.get("class_name") == "Sequential")
            layers[node] = held
            queue += [(each, held[name]) for each in entries if (name := _name(each)) in held]
        elif isinstance(entry, dict) and isinstance(entry.get("config"), dict):
            children = graph.children(node)
            queue += [
                (entry["config"][key], children[key])
                for key in WRAPPED
                if key in children and isinstance(entry["config"].get(key), dict)
            ]
    return ObjectWeights(graph, root, layers)


def _root(graph: ObjectGraph, entries: list[Json], sequential: bool) -> int:
    """Return the object of the model: the first, or one that `tf.train.Checkpoint` was given."""
    if graph.layers(0):
        return 0
    held = {**graph.children(0)}
    if len(held) > MAX_OBJECTS:
        raise InputError(f"the checkpoint's root holds {len(held)} objects. Refused.")
    models = {child: name for name, child in held.items() if graph.layers(child)}
    fitting = [child for child in models if _listed(graph, child, entries, sequential)]
    if len(fitting) == 1 or len(models) == 1:
        return [*fitting, *models][0]
    words = ", ".join(map(quote, [*(models.values() if models else held)][:5])) or "nothing"
    raise InputError(
        f"none of its objects is the model ({words}): a class of somebody's own, or several "
        "models. Build the model in code, load_weights, and save it as .keras."
    )


def _matched(
    graph: ObjectGraph,
    node: int,
    entries: list[Json],
    names: Mapping[int, str],
    sequential: bool,
) -> dict[str, int]:
    """Return the objects of a model's layers by name."""
    held = graph.layers(node)
    named = {names[child]: child for child in held.values() if child in names}
    wanted = _needed(entries, sequential)
    if len(named) == len(held) and set(wanted) <= named.keys():
        return named
    listed = _listed(graph, node, entries, sequential)
    if listed is None:
        raise InputError(
            f"the configuration has {len(wanted)} layers, and the checkpoint {len(held)} "
            f"(for {', '.join(map(quote, wanted[:4]))}, …): it is another model's."
        )
    return dict(zip(listed, (held[at] for at in sorted(held)), strict=True))


def _listed(
    graph: ObjectGraph, node: int, entries: list[Json], sequential: bool
) -> list[str] | None:
    """Return the names of a model's layers in the order of its objects, if they are as many."""
    count = len(graph.layers(node))
    choices = [_needed(entries, sequential), [_name(entry) for entry in entries]]
    return next((each for each in choices if len(each) == count), None)


def _needed(entries: list[Json], sequential: bool) -> list[str]:
    """Return the names of the layers that have an object."""
    return [_name(e) for e in entries if not (sequential and e.get("class_name") == "InputLayer")]


def _entries(entry: Json) -> list[Json] | None:
    """Return the entries of a model's layers; None where an entry is no model's."""
    config = entry.get("config") if isinstance(entry, dict) else None
    layers = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(layers, list):
        return None
    return [each for each in layers if isinstance(each, dict)]


def _name(entry: dict[str, Json]) -> str:
    config = entry.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    return str(entry.get("name") or inner)
