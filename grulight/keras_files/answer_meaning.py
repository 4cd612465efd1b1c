"""What a model's answers mean: its last activation, and the loss that it was compiled with."""

from typing import NamedTuple

from grulight.heads import ClassHead, Head, LabelHead, ValueHead
from grulight.keras_files.layers.activations import activation_name
from grulight.keras_files.layers.network import trace
from grulight.keras_files.plan.spec import Graph, LayerSpec, Ref
from grulight.keras_files.reader.compiled_loss import LOSSES
from grulight.keras_files.reader.untrusted_text import Json, quote

OF_VALUES = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh")
KEEPING_NUMBERS = (
    *("ActivityRegularization", "Dropout", "SpatialDropout1D"),
    *("Flatten", "Permute", "RepeatVector", "Reshape"),
)
SUPPORTED = (
    f"Supported: {', '.join(LOSSES)}, where they fit the answers. Compile it with one of them in "
    "Keras and save it again; predict works as it is."
)


class Meaning(NamedTuple):
    """What answers mean.

    Attributes:
        activation: What they went through: softmax or sigmoid where they are probabilities,
            linear where they are logits or values.
        head: Their loss and metric, and what they predict.
        misfit: Why this loss is not the one that the file was compiled with; empty where it is.
    """

    activation: str
    head: Head
    misfit: str = ""


def meaning(
    activation: str, size: int, per_step: bool, loss: Json, unsupported: str | None
) -> Meaning:
    """Return what answers mean.

    Args:
        activation: The last one, as `last_activation` calls it, over the last axis.
        size: Numbers of an answer.
        per_step: Whether there is one for each step.
        loss: What the file was compiled with, see `recorded_loss`; None where it does not say.
        unsupported: The name of its loss where that is none of ours.
    """
    plain = _of_activation(activation, size, per_step)
    if loss is None:
        if unsupported is None:
            return plain
        return plain._replace(misfit=f"the loss {quote(unsupported)}, which is not supported")
    name, smoothing = loss["name"], float(loss.get("label_smoothing", 0.0))
    if name in OF_VALUES:
        if activation != "softmax":
            head = ValueHead(size, per_step, name, float(loss.get("delta", 1.0)))
            return Meaning("linear", head)
    elif name == "binary_crossentropy":
        if (then := _binary(activation, loss["from_logits"])) is not None:
            single = ClassHead(1, per_step, smoothing)
            return Meaning(then, single if size == 1 else LabelHead(size, per_step, smoothing))
    elif (then := _categorical(activation, loss["from_logits"])) is not None and size > 1:
        return Meaning(then, ClassHead(size, per_step, smoothing))
    words = f"{activation} over {size} number{'s' * (size > 1)}"
    return plain._replace(misfit=f"the loss {quote(name)} after {words}, which is not supported")


def _binary(activation: str, from_logits: bool) -> str | None:
    """Return what the answers of a binary cross entropy went through; None where it is no such.

    Keras 3 takes the sigmoid of what a softmax read, and the softmax of what a sigmoid read,
    where older ones take the probabilities: neither is trained.
    """
    if activation == "sigmoid":
        return "sigmoid"  # also from_logits: Keras looks through it
    if from_logits:  # a loss that takes logits stands in for the activation
        return "linear" if activation != "softmax" else None
    return "sigmoid" if activation == "hard_sigmoid" else None


def _categorical(activation: str, from_logits: bool) -> str | None:
    """Return likewise for a categorical one, for which Keras makes hard sigmoids add up to one."""
    if activation == "softmax":
        return "softmax"  # also from_logits: Keras looks through it
    if from_logits:
        return None if activation == "sigmoid" else "linear"
    return "softmax" if activation == "hard_sigmoid" else None


def _of_activation(activation: str, size: int, per_step: bool) -> Meaning:
    if activation == "softmax" and size > 1:
        return Meaning("softmax", ClassHead(size, per_step))
    if activation == "sigmoid":
        head = ClassHead(1, per_step) if size == 1 else LabelHead(size, per_step)
        return Meaning("sigmoid", head)
    return Meaning("linear", ValueHead(size, per_step))


def last_activation(graph: Graph) -> str:
    """Return the activation that the answers went through, linear where it is no known one."""
    last, whole = _last_layer(graph, graph.outputs[0])
    name = _activation(last)
    return "linear" if name == "softmax" and not whole else name


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
    """Return softmax over the last axis, sigmoid, hard_sigmoid, or linear for all others."""
    if last.kind == "Softmax":
        return "softmax" if last.integers("axis", -1) == (-1,) else "linear"
    if last.kind not in ("Dense", "Activation"):
        return "linear"
    name = activation_name(last, "activation")
    return name if name in ("softmax", "sigmoid", "hard_sigmoid") else "linear"
