"""Where native files (Keras 2.13 and later) keep each variable: groups counted out by class.

Every group is looked at once, whatever the number of variables.
"""

import re
from bisect import bisect_left
from typing import NamedTuple

from grulight.errors import InputError
from grulight.keras_files.plan.variables import Place, Variable
from grulight.keras_files.reader.untrusted_text import quote
from grulight.keras_files.reader.weight_groups import NATIVE_ROOTS, NativeWeights

NUMBERED = re.compile(r"(.+)_(\d{1,6})")


class Alike(NamedTuple):
    """The groups of one class in one container.

    Attributes:
        groups: Number and name of each, in order. The numbers have gaps in files of Keras 2.13,
            which counts layers with weights twice.
        named: Whether the file says of each which layer it is.
    """

    groups: list[tuple[int, str]]
    named: bool


class NativeGroups:
    """Finds the paths of variables.

    Args:
        weights: What the file has.
    """

    def __init__(self, weights: NativeWeights) -> None:
        self._weights = weights
        self._containers: dict[str, dict[str, Alike]] = {}

    def path(self, variable: Variable, shared: bool) -> str | None:
        """Return the path of a variable; None where its layer is ``shared`` and lies elsewhere.

        Raises:
            InputError: There are more or fewer groups of a class than layers, or other layers'.
        """
        path = ""
        for step in variable.path:
            if not isinstance(step, Place):
                path = f"{path}/{step}"
                continue
            group = self._group(step, path, shared)
            if group is None:
                return None
            path = group
        return path

    def _group(self, step: Place, path: str, shared: bool) -> str | None:
        containers = [f"{path}/{each}" for each in NATIVE_ROOTS] if path else [""]
        children = self._weights.children
        container = next((each for each in containers if each in children), containers[0])
        groups, named = self._alike(container, snake(step.class_name))
        if shared and len(groups) < step.of and named:
            # Keras 3 counts a shared layer where it does not write it, too; Keras 2, which notes
            # no names, does not: then nobody knows which one is missing, unless all are
            first, end = (bisect_left(groups, (step.ordinal + more, "")) for more in (0, 1))
            groups = groups[first:end]
            if not groups:
                return None
            step = step._replace(ordinal=0, of=1)
        if len(groups) != step.of:
            raise InputError(
                f"the file keeps weights of {len(groups)} {step.class_name} layers, "
                f"expected {step.of} as configured (for layer {quote(step.layer)})."
            )
        found = _below(container, groups[step.ordinal][1])
        own_name = self._weights.names.get(found)
        if own_name not in (None, step.layer.rpartition("/")[2], step.layer):
            raise InputError(
                f"the weights at {quote(found)} belong to layer {quote(own_name)}, expected "
                f"{quote(step.layer)}."
            )
        return found

    def _alike(self, container: str, kind: str) -> Alike:
        if container not in self._containers:
            self._containers[container] = self._by_kind(container)
        return self._containers[container].get(kind, Alike([], True))

    def _by_kind(self, container: str) -> dict[str, Alike]:
        held: dict[str, list[tuple[int, str]]] = {}
        for child in self._weights.children.get(container, ()):
            held.setdefault(child, []).append((0, child))
            if match := NUMBERED.fullmatch(child):
                held.setdefault(match[1], []).append((int(match[2]), child))
        return {
            kind: Alike(
                sorted(groups),
                all(_below(container, name) in self._weights.names for _, name in groups),
            )
            for kind, groups in held.items()
        }


def _below(container: str, name: str) -> str:
    return f"{container}/{name}" if container else name


def snake(name: str) -> str:
    """Return a class name as Keras' `to_snake_case` does."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
