"""Which array of the file belongs to which layer, checked by name and shape before any is read."""

from collections import Counter

from grulight.errors import InputError
from grulight.keras_files.plan.array_checks import is_counter, require_fit
from grulight.keras_files.plan.lazy_arrays import LazyArrays, Placed, flat_stored
from grulight.keras_files.plan.legacy_groups import legacy_arrays
from grulight.keras_files.plan.named_groups import grouped
from grulight.keras_files.plan.native_groups import NativeGroups
from grulight.keras_files.plan.object_paths import object_arrays, require_all_taken
from grulight.keras_files.plan.spec import Graph
from grulight.keras_files.plan.variables import Place, Step, Variable, Variables, flat_variables
from grulight.keras_files.reader.hdf5 import MAX_GROWTH, Stored
from grulight.keras_files.reader.object_layers import ObjectWeights
from grulight.keras_files.reader.untrusted_text import quote
from grulight.keras_files.reader.weight_groups import NamedWeights, NativeWeights, Weights


def place(variables: Variables, weights: Weights, graph: Graph) -> LazyArrays:
    """Find the array of every variable.

    Args:
        variables: What the layers of the graph need, by layer name.
        weights: What the file has.
        graph: The model, for the order of its layers.

    Raises:
        InputError: An array is missing, left over, or has another shape or name.
    """
    held = {*graph.layers, *graph.input_names}
    whole = {name for name, _ in graph.siblings} <= held and not graph.cut
    if isinstance(weights, NativeWeights):
        found = _native(variables, weights)
        _check_copies(found)
        if whole:
            _check_all_taken(weights, {stored.name for stored in flat_stored(found)})
    elif isinstance(weights, ObjectWeights):
        found = object_arrays(variables, weights)
        _check_copies(found)
        if whole:
            require_all_taken(weights, found)
    else:
        if isinstance(weights, NamedWeights):
            weights = grouped(weights, variables, graph, whole)
        found = legacy_arrays(variables, weights, graph, whole)
    return LazyArrays(found)


def _native(variables: Variables, weights: NativeWeights) -> Placed:
    """Find arrays by the class and the place of their layer.

    A layer that several models share is written once, in the first of them: then its arrays are
    those of the layer of that name and class in another model.
    """
    groups = NativeGroups(weights)
    parts = Counter(map(_own_part, flat_variables(variables)))
    shared = any(count > 1 for count in parts.values())
    written: dict[tuple[Step, ...], str] = {}
    if shared:
        for each in flat_variables(variables):
            if _own_part(each) not in written and (path := groups.path(each, True)) is not None:
                written[_own_part(each)] = path

    def found(held: Variable) -> Stored:
        path = groups.path(held, True) if shared else None
        path = path or written.get(_own_part(held)) or groups.path(held, False)
        if path is None or path not in weights.arrays:
            raise InputError(f"layer {quote(held.layer)} lacks its {held.name} ({quote(path)}).")
        return require_fit(held, weights.arrays[path])

    def placed(held: Variables) -> Placed:
        return {
            name: placed(each) if isinstance(each, dict) else found(each)
            for name, each in held.items()
        }

    return placed(variables)


def _own_part(variable: Variable) -> tuple[Step, ...]:
    """Return what tells a variable whatever model its layer lies in: layer and class, and name."""
    at = max(n for n, step in enumerate(variable.path) if isinstance(step, Place))
    place = variable.path[at]
    assert isinstance(place, Place)
    return (place.class_name, variable.layer, *variable.path[at + 1 :])


def _check_copies(placed: Placed) -> None:
    """Refuse a file that would grow without bound because many layers share its arrays."""
    every = [*flat_stored(placed)]
    once = sum({stored.name: stored.size for stored in every}.values())
    copies = sum(stored.size for stored in every) - once
    if copies > once + MAX_GROWTH:
        raise InputError(
            f"models share arrays so often that the copies take {copies} bytes, expected at most "
            f"{once + MAX_GROWTH}. Refused."
        )


def _check_all_taken(weights: NativeWeights, taken: set[str]) -> None:
    for path, stored in weights.arrays.items():
        idle = is_counter(stored) or "seed_generator" in path.split("/")
        if stored.name not in taken and not idle:
            raise InputError(
                f"no layer takes the array {quote(path)}: the configuration is of another model."
            )
