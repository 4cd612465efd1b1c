"""Where a model ends that is ported only up to a layer: after it, or before it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from grulight.errors import InputError, listed, option
from grulight.keras_files.plan.ordering import refs
from grulight.keras_files.plan.spec import Call, Graph, LayerSpec, Ref, Shape
from grulight.keras_files.reader.untrusted_text import quote

SpecOf = Callable[[str, str | None], LayerSpec]  # of a layer, up to a layer inside it


@dataclass(frozen=True)
class Wiring:
    """The calls of a model, and where it begins and ends.

    Attributes:
        calls: Every call.
        inputs: The inputs.
        outputs: The outputs.
        shapes: The inputs' shapes.
        cut: Models inside that end earlier than in the file.
        output_names: The keys of the outputs, where they are a dictionary.
    """

    calls: list[Call]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    shapes: tuple[Shape, ...]
    cut: Mapping[str, LayerSpec] = field(default_factory=dict)
    output_names: tuple[str, ...] = ()


def ending(
    wiring: Wiring, up_to: str, spec_of: SpecOf, portable: Callable[[LayerSpec], bool]
) -> Wiring:
    """Return the wiring that ends with a layer, or before it where it cannot be ported.

    Args:
        wiring: The whole model's.
        up_to: The layer, or `outer/inner` for one in a model inside.
        spec_of: Reads a layer.
        portable: Whether a layer can be ported.

    Raises:
        InputError: There is no such layer.
    """
    for name, rest in _splits(up_to):
        calls = [call for call in wiring.calls if call.layer == name]
        if not calls:
            continue
        spec = spec_of(name, None)
        if rest is None and portable(spec):
            return replace(wiring, outputs=(Ref(name, calls[-1].index, 0),))
        if rest is None:
            read = (each for each in calls[-1].inputs if isinstance(each, Ref))
            return replace(wiring, outputs=tuple(dict.fromkeys(read)))
        if (whole := model_in(spec)) is not None:
            return _inside(wiring, calls[0], whole, spec_of(name, rest))
    known = [*dict.fromkeys(call.layer for call in wiring.calls)]
    near = get_close_matches(up_to, known, cutoff=0.4) or known
    raise InputError(
        f"{option('up_to', up_to)}: the model calls no layer of this name, but {len(known)} such "
        f"as {listed([*map(quote, near)], 3)}; one in a model inside is called outer/inner. "
        "Keras' model.summary() lists them."
    )


def needed_inputs(
    wiring: Wiring, calls: tuple[Call, ...]
) -> tuple[tuple[Ref, ...], tuple[Shape, ...]]:
    """Return the inputs that the calls and the outputs read, and their shapes."""
    read = {*wiring.outputs, *(ref for call in calls for ref in refs(call))}
    pairs = zip(wiring.inputs, wiring.shapes, strict=True)
    kept = [(ref, shape) for ref, shape in pairs if ref in read]
    return tuple(ref for ref, _ in kept), tuple(shape for _, shape in kept)


def model_in(spec: LayerSpec) -> Graph | None:
    """Return the model that a layer is, or that it applies to each step; else None."""
    held = spec.inner.get("layer", spec) if spec.kind == "TimeDistributed" else spec
    return held.graph


def _inside(wiring: Wiring, call: Call, whole: Graph, cut: LayerSpec) -> Wiring:
    """Return the wiring that ends within a model that a call makes."""
    graph = model_in(cut)
    assert graph is not None
    if not graph.calls:  # what is cut away reads the model's inputs
        places = dict(zip(whole.inputs, call.inputs, strict=False))
        read = (places.get(ref) for ref in graph.outputs)
        return replace(wiring, outputs=tuple(each for each in read if isinstance(each, Ref)))
    kept = [at for at, ref in enumerate(whole.inputs) if ref in graph.inputs]
    shorter = replace(
        call,
        inputs=tuple(call.inputs[at] for at in kept if at < len(call.inputs)),
        masks=tuple(call.masks[at] for at in kept if at < len(call.masks)),
    )
    calls = [shorter if each is call else each for each in wiring.calls]
    outputs = tuple(Ref(call.layer, call.index, at) for at in range(len(graph.outputs)))
    return replace(wiring, calls=calls, outputs=outputs, cut={call.layer: cut})


def _splits(path: str) -> Iterator[tuple[str, str | None]]:
    """Yield a path as one name, which may hold slashes, and as a name and what lies inside."""
    yield path, None
    parts = path.split("/")
    for at in range(len(parts) - 1, 0, -1):
        yield "/".join(parts[:at]), "/".join(parts[at:])
