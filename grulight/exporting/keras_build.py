"""A planned Keras model, made of Keras' own layers; Keras itself is handed in.

Only constructors of the layers and operations in `keras_settings` are called: no configuration is
deserialised, and no name is resolved but those of that table.
"""

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from grulight.exporting.inputs import Array
from grulight.exporting.keras_layers import ModelPlan, Plan
from grulight.exporting.keras_settings import PLAIN, TAKES_LIST, WITH_AXIS
from grulight.keras_files.layers.network import PREFIX, RECURRENT
from grulight.keras_files.layers.slices import part_of
from grulight.keras_files.plan.spec import Call, Ref

UNNAMEABLE = re.compile(r"[^A-Za-z0-9_.\\>-]")  # what TensorFlow takes in no name
FIRST = re.compile(r"^[^A-Za-z0-9.]")
Path = tuple[str, ...]


class Builder:
    """Make a model in one precision, and put its weights in.

    Args:
        keras: The package.
        dtype: The precision.
    """

    def __init__(self, keras: ModuleType, dtype: str) -> None:
        self.keras = keras
        self.dtype = dtype

    def model(self, plan: ModelPlan, first: Any = None, name: str | None = None) -> Any:
        """Return the model with its weights; ``first`` standardises what its one input takes."""
        kinds = {"ids": "int32", "mask": "bool"}
        given = [
            self.keras.Input(
                each.shape[1:], dtype=kinds.get(each.kind, self.dtype), name=_nameable(each.name)
            )
            for each in plan.inputs
        ]
        seen: dict[Ref, Any] = dict(zip(plan.starts, given, strict=True))
        if first is not None:
            seen[plan.starts[0]] = first(given[0])
        made: dict[str, Any] = {}
        for call in plan.calls:
            held = plan.layers[call.layer]
            if call.layer not in made:
                made[call.layer] = self._made(held)
            outputs = self._called(held, made[call.layer], call, seen)
            for at, output in enumerate(self.keras.tree.flatten(outputs)):
                seen[Ref(call.layer, call.index, at)] = output
            if held.arrays and held.model is None and call.index == 0:
                made[call.layer].set_weights(held.arrays)
        ends = [seen[ref] for ref in plan.outputs]
        both = (each[0] if len(each) == 1 else each for each in (given, ends))
        return self.keras.Model(*both, **({} if name is None else {"name": name}))

    def _made(self, plan: Plan) -> Any:
        settings = dict(plan.settings)
        if "name" in settings:
            settings["name"] = _nameable(settings["name"])
        if plan.model is not None:
            return self.model(plan.model, name=settings.get("name"))
        if plan.kind.startswith(PREFIX):
            return self._operation(plan.kind.removeprefix(PREFIX), settings)
        inner = {name: self._made(each) for name, each in plan.inner.items()}
        return getattr(self.keras.layers, plan.kind)(**settings, **inner, dtype=self.dtype)

    def _operation(self, kind: str, settings: dict[str, Any]) -> Callable[..., Any]:
        name, ops = settings.pop("name", None), self.keras.ops

        def compute(*tensors: Any) -> Any:
            if kind == "GetItem":
                answer = tensors[0][tuple(map(part_of, settings["index"]))]
            elif kind in PLAIN:
                answer = getattr(ops, PLAIN[kind])(*tensors)
            else:
                given = (list(tensors),) if kind in TAKES_LIST else tensors
                answer = getattr(ops, WITH_AXIS[kind][0])(*given, **settings)
            if name is not None:  # as in the file, and not as any other layer there
                answer._keras_history.operation.name = _nameable(name)
            return answer

        return compute

    def _called(self, plan: Plan, layer: Any, call: Call, seen: dict[Ref, Any]) -> Any:
        """Call a layer as the file does."""
        given = [seen[each] if isinstance(each, Ref) else each for each in call.inputs]
        if plan.kind.startswith(PREFIX):
            return layer(*given)
        words: dict[str, Any] = {}
        masks = [None if ref is None else seen[ref] for ref in call.masks]
        if any(mask is not None for mask in masks):
            words["mask"] = masks[0] if len(given) == 1 or plan.kind in RECURRENT else masks
        if plan.kind in RECURRENT and len(given) > 1:
            words["initial_state"] = given[1] if len(given) == 2 else given[1:]
            given = given[:1]
        return layer(given[0] if len(given) == 1 else given, **words)


def same_weights(opened: Any, plan: ModelPlan) -> bool:
    """Return whether a model has the planned weights, bit for bit."""
    places = {_nameable(n): each for n, each in plan.layers.items() if each.arrays}
    unnamed = iter(each for each in opened.layers if each.get_weights())
    for name, held in places.items():
        layer = opened.get_layer(name) if "name" in held.settings else next(unnamed)
        if held.model is not None:
            if not same_weights(layer, held.model):
                return False
            continue
        found: list[Array] = layer.get_weights()
        if len(found) != len(held.arrays) or not all(map(np.array_equal, found, held.arrays)):
            return False
    return True


def _nameable(name: str) -> str:
    return FIRST.sub("_0", UNNAMEABLE.sub("_", name)) if UNNAMEABLE.search(name) else name
