"""Which array of the file belongs to which layer, checked by name and shape before any is read."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from grulight.errors import InputError
from grulight.keras_files.base import Array, Place, Step, Variable, Variables
from grulight.keras_files.container import LegacyWeights, NativeWeights
from grulight.keras_files.hdf5 import MAX_GROWTH, Stored
from grulight.keras_files.native_groups import NativeGroups
from grulight.keras_files.plain import quote
from grulight.keras_files.spec import Graph, Shape

# Names that mean one thing in every Keras since 2.0: an array so called goes nowhere else.
TELLING = {
    "kernel", "recurrent_kernel", "bias", "gamma", "beta",
    "moving_mean", "moving_variance", "embeddings", "alpha",
}  # fmt: skip

Placed = dict[str, Any]  # as Variables, with a Stored in place of each Variable


class LazyArrays(Mapping[str, Any]):
    """Arrays read from the file when they are asked for, one at a time."""

    def __init__(self, placed: Placed) -> None:
        self._placed = placed

    def __getitem__(self, name: str) -> "Array | LazyArrays":
        """Read one array, or return those one level deeper."""
        held = self._placed[name]
        return held.read() if isinstance(held, Stored) else LazyArrays(held)

    def __contains__(self, name: object) -> bool:
        return name in self._placed  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._placed)

    def __len__(self) -> int:
        return len(self._placed)

    def shapes(self) -> dict[str, Any]:
        """Return the shapes in place of the arrays."""
        return {
            name: list(held.shape) if isinstance(held, Stored) else LazyArrays(held).shapes()
            for name, held in self._placed.items()
        }

    def shared(self) -> list[str]:
        """Return the groups of the file whose arrays several layers take."""
        takers = Counter(stored.name for stored in _flat_stored(self._placed))
        return sorted({name.partition("/vars/")[0] for name, n in takers.items() if n > 1})

    def dtype(self) -> str:
        """Return the type that holds every array without loss."""
        doubles = (
            stored.dtype is not None and stored.dtype.itemsize == 8
            for stored in _flat_stored(self._placed)
        )
        return "float64" if any(doubles) else "float32"


def place(variables: Variables, weights: NativeWeights | LegacyWeights, graph: Graph) -> LazyArrays:
    """Find the array of every variable.

    Args:
        variables: What the layers of the graph need, by layer name.
        weights: What the file has.
        graph: The model, for the order of its layers.

    Raises:
        InputError: An array is missing, left over, or has another shape or name.
    """
    whole = {name for name, _ in graph.siblings} <= {*graph.layers, *graph.input_names}
    if isinstance(weights, NativeWeights):
        found = _native(variables, weights)
        _check_copies(found)
        if whole:
            _check_all_taken(weights, {stored.name for stored in _flat_stored(found)})
    else:
        found = _legacy(variables, weights, graph, whole)
    return LazyArrays(found)


def _native(variables: Variables, weights: NativeWeights) -> Placed:
    """Find arrays by the class and the place of their layer.

    A layer that several models share is written once, in the first of them: then its arrays are
    those of the layer of that name and class in another model.
    """
    groups = NativeGroups(weights)
    parts = Counter(map(_own_part, _flat(variables)))
    shared = any(count > 1 for count in parts.values())
    written: dict[tuple[Step, ...], str] = {}
    if shared:
        for each in _flat(variables):
            if _own_part(each) not in written and (path := groups.path(each, True)) is not None:
                written[_own_part(each)] = path

    def found(held: Variable) -> Stored:
        path = groups.path(held, True) if shared else None
        path = path or written.get(_own_part(held)) or groups.path(held, False)
        if path is None or path not in weights.arrays:
            raise InputError(f"layer {quote(held.layer)} lacks its {held.name} ({quote(path)}).")
        return _fitting(held, weights.arrays[path])

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
    every = [*_flat_stored(placed)]
    once = sum({stored.name: stored.size for stored in every}.values())
    copies = sum(stored.size for stored in every) - once
    if copies > once + MAX_GROWTH:
        raise InputError(
            f"models share arrays so often that the copies take {copies} bytes, expected at most "
            f"{once + MAX_GROWTH}. Refused."
        )


def _check_all_taken(weights: NativeWeights, taken: set[str]) -> None:
    for path, stored in weights.arrays.items():
        idle = _is_counter(stored) or "seed_generator" in path.split("/")
        if stored.name not in taken and not idle:
            raise InputError(
                f"no layer takes the array {quote(path)}: the configuration is of another model."
            )


def _legacy(variables: Variables, weights: LegacyWeights, graph: Graph, whole: bool) -> Placed:
    groups = _legacy_groups(variables, weights, graph, whole)
    placed: Placed = {}
    for name, group in groups.items():
        held = variables[name]
        assert isinstance(held, dict)
        flat = list(_flat(held))
        arrays = tuple(each for each in weights.layers[group] if not _is_counter(each))
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
        matches = {id(v): _fitting(v, a) for v, a in zip(order, arrays, strict=True)}
        placed[name] = _rebuilt(held, matches)
    return placed


def _is_counter(stored: Stored) -> bool:
    """Return whether an array counts what a Normalization has seen, which nothing depends on."""
    return stored.dtype is None and stored.shape == ()


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


def _flat(variables: Variables) -> Iterator[Variable]:
    for held in variables.values():
        if isinstance(held, dict):
            yield from _flat(held)
        else:
            yield held


def _flat_stored(placed: Placed) -> Iterator[Stored]:
    for held in placed.values():
        if isinstance(held, dict):
            yield from _flat_stored(held)
        else:
            yield held


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
    return all(_told(array) in (None, variable.name) for variable, array in pairs)


def _told(stored: Stored) -> str | None:
    """Return what an array's own name says it is, if it says."""
    name = re.sub(r"(_\d+)?(:\d+)?$", "", stored.name.rpartition("/")[2])
    return name if name in TELLING else None


def _fitting(variable: Variable, stored: Stored) -> Stored:
    if not any(_fits(shape, stored.shape) for shape in variable.shapes):
        wanted = " or ".join(_text(shape) for shape in variable.shapes)
        raise InputError(
            f"layer {quote(variable.layer)}: {variable.name} has shape {stored.shape} in the file "
            f"({quote(stored.name)}), expected {wanted} as configured."
        )
    if "vars" not in stored.name.split("/") and _told(stored) not in (None, variable.name):
        raise InputError(
            f"layer {quote(variable.layer)}: the file has {quote(stored.name)} where "
            f"{variable.name} is expected."
        )
    return stored


def _fits(wanted: Shape, got: tuple[int, ...]) -> bool:
    return len(wanted) == len(got) and all(
        ours in (None, theirs) for ours, theirs in zip(wanted, got, strict=True)
    )


def _text(shape: Shape) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
