"""The calls of a model in an order in which they can be made."""

from dataclasses import replace

from grulight.errors import InputError
from grulight.keras_files.plan.spec import Argument, Call, Ref
from grulight.keras_files.reader.untrusted_text import quote

Place = tuple[str, int]  # which call of which layer


def count_from_zero(
    calls: list[Call], outputs: tuple[Ref, ...]
) -> tuple[list[Call], tuple[Ref, ...]]:
    """Count the calls of nested models from 0.

    Keras 2 counts from 1 where the nested model was called on its own inputs when it was made.
    """
    count: dict[str, int] = {}
    for call in calls:
        count[call.layer] = max(count.get(call.layer, 0), call.index + 1)
    numbers: dict[str, set[int]] = {}
    for ref in (*(ref for call in calls for ref in refs(call)), *outputs):
        numbers.setdefault(ref.layer, set()).add(ref.call)
    shifted = {
        name for name, seen in numbers.items() if 0 not in seen and count.get(name, 0) in seen
    }

    def shift(ref: Ref) -> Ref:
        return ref._replace(call=ref.call - 1) if ref.layer in shifted else ref

    def shift_any(argument: Argument) -> Argument:
        return shift(argument) if isinstance(argument, Ref) else argument

    moved = []
    for call in calls:
        inputs = tuple(shift_any(each) for each in call.inputs)
        masks = tuple(None if mask is None else shift(mask) for mask in call.masks)
        moved.append(replace(call, inputs=inputs, masks=masks))
    return moved, tuple(shift(ref) for ref in outputs)


def refs(call: Call) -> list[Ref]:
    """Return the tensors that a call needs."""
    return [each for each in (*call.inputs, *call.masks) if isinstance(each, Ref)]


def by_depth(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """Return calls in the order in which Keras 3 makes them: the farthest from an output first.

    All calls of a layer are as far as its farthest one (keras/src/ops/function.py, map_graph).
    """
    known = {(call.layer, call.index): call for call in calls}
    depths: dict[Place, int] = {}
    layers: dict[str, int] = {}
    for call in reversed(calls):
        place = (call.layer, call.index)
        depth = max(depths.setdefault(place, 0), layers.get(call.layer, 0))
        depths[place] = layers[call.layer] = depth
        for ref in refs(call):
            parent = (ref.layer, ref.call)
            if parent in known:
                depths[parent] = max(depth + 1, depths.get(parent, 0))
    places = sorted(depths, key=lambda place: -depths[place])  # those as far keep their order
    return tuple(known[place] for place in places)


def ordered(
    calls: list[Call], inputs: tuple[Ref, ...], outputs: tuple[Ref, ...]
) -> tuple[Call, ...]:
    """Return the calls that the outputs need, each after those it depends on.

    Raises:
        InputError: A call is missing, or depends on itself.
    """
    known = {(call.layer, call.index): call for call in calls}
    done: dict[Place, Call | None] = {(ref.layer, ref.call): None for ref in inputs}
    entered: set[Place] = set()
    stack = [(ref.layer, ref.call) for ref in reversed(outputs)]
    while stack:
        place = stack[-1]
        if place in done:
            stack.pop()
            continue
        if place not in known:
            raise InputError(f"layer {quote(place[0])} is used but not there, or never called.")
        needed = [(ref.layer, ref.call) for ref in refs(known[place])]
        missing = [each for each in needed if each not in done]
        if not missing:
            done[place] = known[place]
            stack.pop()
        elif place in entered:
            raise InputError(f"layer {quote(place[0])} depends on itself. Refused.")
        else:
            entered.add(place)
            stack += reversed(missing)
    return tuple(call for call in done.values() if call is not None)
