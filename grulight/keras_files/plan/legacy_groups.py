"""Where `.h5` files of Keras 1 to 3 keep each variable: in a group per layer, in order."""

from grulight.errors import InputError
from grulight.keras_files.plan.array_checks import is_counter, require_fit, standard_name
from grulight.keras_files.plan.lazy_arrays import Placed
from grulight.keras_files.plan.spec import Graph
from grulight.keras_files.plan.variables import Variable, Variables, flat_variables
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.untrusted_text import quote
from grulight.keras_files.reader.weight_groups import LegacyWeights


def legacy_arrays(
    variables: Variables, weights: LegacyWeights, graph: Graph, whole: bool
) -> Placed:
    """Find the array of every variable.

    Args:
        variables: What the layers of the graph need, by layer name.
        weights: What the file has.
        graph: The model, for the order of its layers.
        whole: Whether the layers are all of the file's.

    Raises:
        InputError: An array is missing, left over, or has another shape or name.
    """
    groups = _legacy_groups(variables, weights, graph, whole)
    placed: Placed = {}
    for name, group in groups.items():
        held = variables[name]
        assert isinstance(held, dict)
        flat = list(flat_variables(held))
        arrays = tuple(each for each in weights.layers[group] if not is_counter(each))
        if len(arrays) > len(flat) and graph.cut:  # of a model inside that ends earlier
            layers = {each.layer for each in flat}
            arrays = tuple(each for each in arrays if layers & {*each.name.split("/")})
        if len(arrays) != len(flat):
            wanted = ", ".join(each.name for each in flat)
            raise InputError(
                f"layer {quote(name)} has {len(arrays)} arrays in the file, expected {len(flat)} "
                f"({wanted})."
            )
        # A model inside a model lists what can be trained first; older ones by the layers' own
        # `trainable`, others as if nothing was frozen. The names tell which.
        orders = [_trainable_first(flat), _moving_last(flat), flat]
        order = next((o for o in orders if _names_agree(o, arrays)), orders[0])
        matches = {id(v): require_fit(v, a) for v, a in zip(order, arrays, strict=True)}
        placed[name] = _rebuilt(held, matches)
    return placed


def _legacy_groups(
    variables: Variables, weights: LegacyWeights, graph: Graph, whole: bool
) -> dict[str, str]:
    """Return the file's group for each layer: by name, or in order where the names differ."""
    if all(name in weights.layers for name in variables):
        stray = [name for name, held in weights.layers.items() if held and name not in variables]
        if whole and stray:
            raise InputError(f"no layer takes the arrays of {quote(stray[0])}: another model's.")
        return {name: name for name in variables}
    ours = [name for name, _ in graph.siblings if name in variables]
    theirs = [name for name, held in weights.layers.items() if held]
    if len(ours) != len(theirs) or not whole:
        raise InputError(
            f"the file has weights for the layers {', '.join(map(quote, theirs[:8]))}, expected "
            f"{', '.join(map(quote, ours[:8]))}."
        )
    return dict(zip(ours, theirs, strict=True))


def _rebuilt(variables: Variables, matches: dict[int, Stored]) -> Placed:
    return {
        name: _rebuilt(held, matches) if isinstance(held, dict) else matches[id(held)]
        for name, held in variables.items()
    }


def _trainable_first(flat: list[Variable]) -> list[Variable]:
    return sorted(flat, key=lambda variable: not variable.trainable)


def _moving_last(flat: list[Variable]) -> list[Variable]:
    return sorted(flat, key=lambda variable: variable.name.startswith("moving_"))


def _names_agree(variables: list[Variable], arrays: tuple[Stored, ...]) -> bool:
    pairs = zip(variables, arrays, strict=True)
    return all(standard_name(array) in (None, variable.name) for variable, array in pairs)
