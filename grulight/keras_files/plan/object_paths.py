"""Where checkpoints of TensorFlow keep each variable: the way from the model's object on."""

import re
from collections.abc import Iterable

from grulight.errors import InputError
from grulight.keras_files.plan.array_checks import STANDARD_NAMES, require_fit
from grulight.keras_files.plan.lazy_arrays import Placed, flat_stored
from grulight.keras_files.plan.variables import Place, Variable, Variables
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.object_layers import ObjectWeights
from grulight.keras_files.reader.untrusted_text import quote

CELL = re.compile(r"cell_(\d+)")
INNER = re.compile(r"layer-\d+|layer|forward_layer|backward_layer|cell|cells|\d+|_\w+_dense")


def object_arrays(variables: Variables, weights: ObjectWeights) -> Placed:
    """Find the variable of everything that the layers need.

    Raises:
        InputError: One is missing, or has another shape or name.
    """

    def placed(held: Variables, key: str) -> Placed:
        return {
            name: placed(each, name) if isinstance(each, dict) else _found(each, key, weights)
            for name, each in held.items()
        }

    return placed(variables, "")


def require_all_taken(weights: ObjectWeights, placed: Placed) -> None:
    """Refuse a checkpoint with weights that no layer takes.

    Raises:
        InputError: There is one.
    """
    taken = {stored.name for stored in flat_stored(placed)}
    queue, seen = [weights.root], {weights.root}
    while queue:
        for name, child in weights.graph.children(queue.pop()).items():
            if INNER.fullmatch(name) and child not in seen:
                seen.add(child)
                queue.append(child)
            elif name in STANDARD_NAMES:
                stored = weights.graph.variable(child)
                if stored is not None and stored.name not in taken:
                    raise InputError(
                        f"no layer takes the array {quote(stored.name)}: the configuration is of "
                        "another model."
                    )


def _found(variable: Variable, key: str, weights: ObjectWeights) -> Stored:
    """Return a variable of the checkpoint; ``key`` is what holds it among the layer's."""
    node = weights.root
    for step in variable.path[: variable.path.index("vars")]:
        if isinstance(step, Place):
            held = weights.layers.get(node, {})
            node = _required(held.get(step.layer), variable, held)
        else:
            node = _inside(node, step, key, variable, weights)
    held = weights.graph.children(node)
    stored = weights.graph.variable(_required(held.get(variable.name), variable, held))
    if stored is None:
        raise _lacks(variable, held)
    return require_fit(variable, stored)


def _inside(node: int, step: str, key: str, variable: Variable, weights: ObjectWeights) -> int:
    """Return an object within a layer's."""
    children = weights.graph.children(node)
    cell = CELL.fullmatch(key)  # one of several, which are a list here
    for name in (step, f"_{step}", *([cell[1]] if cell else [])):
        if name in children:
            return children[name]
    if step == "cell":  # those of cuDNN have none
        return node
    raise _lacks(variable, children)


def _required(node: int | None, variable: Variable, held: Iterable[str]) -> int:
    if node is None:
        raise _lacks(variable, held)
    return node


def _lacks(variable: Variable, held: Iterable[str]) -> InputError:
    there = ", ".join(map(quote, [*held][:5])) or "nothing"
    return InputError(
        f"layer {quote(variable.layer)} lacks its {variable.name} in the checkpoint (there is "
        f"{there}): the configuration is of another model."
    )
