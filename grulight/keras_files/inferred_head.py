"""What a Keras model's answers mean: the head that its loss and last activation ask for."""

from grulight.heads import ClassHead, Head, LabelHead, ValueHead
from grulight.keras_files.layers.activations import activation_name
from grulight.keras_files.layers.network import trace
from grulight.keras_files.plan.spec import Graph, LayerSpec, Ref, Shape
from grulight.keras_files.reader.untrusted_text import Json

KEEPING_NUMBERS = (
    *("ActivityRegularization", "Dropout", "SpatialDropout1D"),
    *("Flatten", "Permute", "RepeatVector", "Reshape"),
)


def infer_head(graph: Graph, shape: Shape, loss: Json) -> tuple[str, Head]:
    """Return the activation that the answers went through, linear if none, and their meaning."""
    size, per_step = int(shape[-1] or 0), len(shape) == 3
    compiled, from_logits = (loss["name"], loss["from_logits"]) if loss else (None, False)
    last, whole = _last_layer(graph, graph.outputs[0])
    name = _activation(last)
    if name == "softmax" and not whole:
        name = "linear"
    if compiled in ("mean_squared_error", "mean_absolute_error") and name != "softmax":
        return "linear", ValueHead(size, per_step, compiled)
    if from_logits and name not in ("softmax", "sigmoid"):
        # a loss that takes logits stands in for the activation
        name, then = ("softmax" if compiled == "categorical_crossentropy" else "sigmoid"), "linear"
    else:
        then = name
    if name == "softmax" and size > 1:
        return then, ClassHead(size, per_step)
    if name == "sigmoid":
        return then, ClassHead(1, per_step) if size == 1 else LabelHead(size, per_step)
    return "linear", ValueHead(size, per_step)


def _last_layer(graph: Graph, output: Ref) -> tuple[LayerSpec, bool]:
    """Return the layer that a tensor's numbers come from, and whether they lie in its last axis.

    In nested models and wrappers that is the innermost; dropout and changes of shape are passed.
    """
    last = graph.layers[output.layer]
    while last.kind == "TimeDistributed" and "layer" in last.inner:
        last = last.inner["layer"]
    if last.graph is not None:
        return _last_layer(last.graph, last.graph.outputs[output.tensor])
    if last.kind not in KEEPING_NUMBERS:
        return last, True
    [source] = (call.inputs[0] for call in graph.calls if (call.layer, call.index) == output[:2])
    if not isinstance(source, Ref) or source in graph.inputs:
        return last, True
    found, whole = _last_layer(graph, source)
    seen = trace(graph, graph.shapes)
    return found, whole and last.kind != "Permute" and seen[source][-1:] == seen[output][-1:]


def _activation(last: LayerSpec) -> str:
    """Return softmax over the last axis, sigmoid, or linear for all others."""
    if last.kind == "Softmax":
        return "softmax" if last.integers("axis", -1) == (-1,) else "linear"
    if last.kind not in ("Dense", "Activation"):
        return "linear"
    name = activation_name(last, "activation")
    return name if name in ("softmax", "sigmoid") else "linear"
