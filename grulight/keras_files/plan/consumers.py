"""Who reads a tensor of a model."""

from collections.abc import Collection, Iterator

from grulight.keras_files.plan.spec import Graph, LayerSpec, Ref


def consumers_of(graph: Graph, ref: Ref, through: Collection[str] = ()) -> Iterator[LayerSpec]:
    """Yield the layers that read a tensor, in nested models and within TimeDistributed too.

    Args:
        graph: The model.
        ref: The tensor.
        through: Kinds of layers that hand it on as it is: who reads theirs reads it.
    """
    for call in graph.calls:
        if ref not in call.inputs:
            continue
        spec = graph.layers[call.layer]
        while spec.kind == "TimeDistributed" and "layer" in spec.inner:
            spec = spec.inner["layer"]
        if spec.graph is not None:
            inner = spec.graph.inputs[call.inputs.index(ref)]
            yield from consumers_of(spec.graph, inner, through)
            continue
        yield spec
        if spec.kind in through:
            yield from consumers_of(graph, Ref(call.layer, call.index, 0), through)
