"""What became of every layer of a Keras file, as data."""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from torch import nn

from grulight.errors import one_line
from grulight.keras_files.activity_penalties import SETTING
from grulight.keras_files.layer_terms import Term, terms_taken_over
from grulight.keras_files.layers.base import KERAS_1_PARTS, KerasLayer
from grulight.keras_files.layers.gru import GRU
from grulight.keras_files.layers.network import Network, graph_of, trace
from grulight.keras_files.plan.spec import Graph, LayerSpec, Ref, Shape
from grulight.keras_files.reader.untrusted_text import Json, quote

# Settings that only matter while Keras trains, or only for how it computes; shown where set.
TRAINING_ONLY = ("_regularizer", "_constraint")
INERT = ("stateful", "unroll", "lora_rank", "quantization_config")


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
        name: Its name in the file; layers of nested models and wrappers as `outer/inner`.
        keras: Its class in Keras.
        torch: The torch module that computes it.
        output_shapes: Shapes of its outputs, None where any size goes.
        parameters: Numbers it holds.
        trainable: How many of them train.
        ignored: Settings that have no effect here, in words.
        training: Regularisers and constraints, which training takes over.
    """

    name: str
    keras: str
    torch: str
    output_shapes: tuple[Shape, ...]
    parameters: int
    trainable: int
    ignored: tuple[str, ...]
    training: tuple[str, ...] = ()


def state_not_kept(rows: Iterable[LayerRow]) -> str | None:
    """Return that a stateful layer starts every call from zero, as a sentence; None without one."""
    stateful = next((row.name for row in rows if "stateful True" in row.ignored), None)
    if stateful is None:
        return None
    return (
        f"{quote(stateful)} is stateful in Keras, which keeps its state from one batch to the "
        "next; the port starts every call from zero."
    )


def layer_rows(graph: Graph, network: Network) -> tuple[LayerRow, ...]:
    """Return a row per layer, inputs first, each nested model's layers after it."""
    return tuple(_rows(graph, network, graph.shapes, "", {*terms_taken_over(network)}))


def _rows(
    graph: Graph, network: Network, shapes: tuple[Shape, ...], prefix: str, taken: Set[Term]
) -> Iterator[LayerRow]:
    for name, shape in zip(graph.input_names, shapes, strict=True):
        yield LayerRow(prefix + name, "InputLayer", "-", (shape,), 0, 0, ())
    seen = trace(graph, shapes)
    outputs: dict[tuple[str, int], list[Shape]] = {}
    for ref, shape in seen.items():
        outputs.setdefault(ref[:2], []).append(shape)
    done = set()
    for call in graph.calls:
        if call.layer in done:
            continue
        done.add(call.layer)
        spec, layer = graph.layers[call.layer], network.layer(call.layer)
        yield _row(spec, layer, tuple(outputs.get((call.layer, call.index), ())), prefix, taken)
        if spec.graph is not None and isinstance(layer, Network):
            inputs = tuple(seen[each] for each in call.inputs if isinstance(each, Ref))
            yield from _rows(graph_of(spec), layer, inputs, f"{prefix}{spec.name}/", taken)


def _row(
    spec: LayerSpec,
    layer: KerasLayer,
    outputs: tuple[Shape, ...],
    prefix: str,
    taken: Set[Term],
) -> LayerRow:
    held = [*layer.parameters(), *layer.buffers()]
    settings = [*_settings(spec)]
    return LayerRow(
        name=prefix + spec.name,
        keras=_keras_words(spec),
        torch=_torch_words(layer),
        output_shapes=outputs,
        parameters=sum(each.numel() for each in held),
        trainable=sum(each.numel() for each in held if each.requires_grad),
        ignored=tuple(words for key, words in settings if key not in taken),
        training=tuple(words for key, words in settings if key in taken),
    )


def _keras_words(spec: LayerSpec) -> str:
    inner = ", ".join(_keras_words(each) for each in spec.inner.values())
    return f"{spec.kind}({inner})" if inner else spec.kind


def _torch_words(layer: nn.Module) -> str:
    if isinstance(layer, GRU):
        return "nn.GRU" if layer.standard else "ScanGRU"
    inner = [each for each in layer.children() if isinstance(each, KerasLayer)]
    words = ", ".join(_torch_words(each) for each in inner)
    return f"{type(layer).__name__}({words})" if words else type(layer).__name__


def _settings(spec: LayerSpec) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what may have no effect here: layer and setting, and both in words."""
    if spec.kind == "ActivityRegularization" and (spec.config.get("l1") or spec.config.get("l2")):
        yield (spec.name, SETTING), f"{SETTING} L1L2"
    for key, value in spec.config.items():
        if value and (key.endswith(TRAINING_ONLY) or key in INERT):
            current = KERAS_1_PARTS.get(key[:2], key[:2]) + key[2:]
            yield (spec.name, current), one_line(f"{key} {_named(value)}")
    for inner in spec.inner.values():
        yield from _settings(inner)


def _named(value: Json) -> Json:
    """Return the name of a setting that is an object; custom ones are shown, never resolved."""
    named = isinstance(value, dict) and (value.get("registered_name") or value.get("class_name"))
    return named or value
