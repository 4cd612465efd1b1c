"""The NumPy reference on a Keras file: a second witness for chains of GRU and Dense layers."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from grulight.keras_files.layers.activations import activation_name
from grulight.keras_files.layers.wrappers import directions, merge_mode
from grulight.keras_files.plan.spec import Graph, LayerSpec, Ref
from grulight.kernels.reference import Step, StepFunction, gru_layer, sigmoid
from parity.controls.wrong_answers import hard_sigmoid_of_keras_2, hard_sigmoid_of_keras_3
from parity.keras_files.inputs import fed
from parity.question import Array, Arrays, Question

INERT = ("Masking", "Dropout", "SpatialDropout1D")  # no step is masked here
KNOWN = (*INERT, "Activation", "Bidirectional", "Dense", "Embedding", "GRU", "TimeDistributed")
Function = Callable[[Array], Array]

ACTIVATIONS: dict[str, Function] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "sigmoid": sigmoid,
    "softmax": lambda x: _shares(np.exp(x - x.max(axis=-1, keepdims=True))),
    "tanh": np.tanh,
}


def expressible(graph: Graph) -> bool:
    """Return whether a model is a chain of layers that the reference has equations for."""
    places = [*graph.inputs, *(Ref(call.layer, call.index, 0) for call in graph.calls)]
    chain = [call.inputs == (ref,) for call, ref in zip(graph.calls, places, strict=False)]
    ends = len(graph.inputs) == 1 and graph.outputs == (places[-1],)
    return ends and all(chain) and all(_known(spec) for spec in graph.layers.values())


def _known(spec: LayerSpec) -> bool:
    if spec.kind == "Bidirectional":
        return merge_mode(spec) == "concat" and all(map(_known, spec.inner.values()))
    if spec.kind == "TimeDistributed":
        return spec.inner["layer"].kind in ("Dense", "Activation", "Dropout")
    named = [
        spec.config[key] for key in ("activation", "recurrent_activation") if key in spec.config
    ]
    return (
        spec.kind in KNOWN
        and not spec.flag("return_state")
        and all(name in (*ACTIVATIONS, "hard_sigmoid") for name in named)
    )


def unmasked(question: Question) -> Question:
    """Return the question with no step masked."""
    inputs = {n: a for n, a in question.inputs.items() if not n.startswith("masked.")}
    return replace(question, inputs=inputs)


def answer(question: Question, graph: Graph) -> Arrays:
    """Return the model's output, in float64."""
    [x] = fed(unmasked(question)).values()
    for call in graph.calls:
        own = {
            name.removeprefix(prefix): array
            for name, array in question.weights.items()
            if name.startswith(prefix := f"{call.layer}/")
        }
        x = _run(graph.layers[call.layer], x, own)
    return {f"output.{question.settings['outputs'][0]}": x}


def _run(spec: LayerSpec, x: Array, own: Mapping[str, Array]) -> Array:
    if spec.kind in INERT:
        return x
    if spec.kind == "TimeDistributed":
        return _run(spec.inner["layer"], x, own)
    if spec.kind == "Embedding":
        table: Array = own["embeddings"][x]
        return table
    if spec.kind == "Bidirectional":
        return _both(spec, x, own)
    if spec.kind == "GRU":
        return _gru(spec, x, own)
    linear = x @ own["kernel"] + own.get("bias", 0.0) if "kernel" in own else x
    return _function(spec, "activation")(linear)


def _both(spec: LayerSpec, x: Array, own: Mapping[str, Array]) -> Array:
    """Put both directions side by side, both in the order of time."""
    outputs = []
    for way, inner in zip(("forward_layer", "backward_layer"), directions(spec), strict=True):
        part = {n.removeprefix(f"{way}/"): a for n, a in own.items() if n.startswith(way)}
        output = _gru(inner, x, part)
        turned = way == "backward_layer" and inner.flag("return_sequences")
        outputs.append(output[:, ::-1] if turned else output)
    return np.concatenate(outputs, axis=-1)


def _gru(spec: LayerSpec, x: Array, own: Mapping[str, Array]) -> Array:
    units = len(own["recurrent_kernel"])
    rows = np.atleast_2d(own.get("bias", np.zeros(3 * units)))
    parameters = {
        "weight_ih": own["kernel"].T,
        "weight_hh": own["recurrent_kernel"].T,
        "bias_ih": rows[0],
        "bias_hh": rows[1] if len(rows) > 1 else np.zeros(3 * units),
    }
    backward, lengths = spec.flag("go_backwards"), np.full(len(x), x.shape[1])
    h0 = np.zeros((len(x), units))
    hidden, last, _ = gru_layer(x, h0, parameters, lengths, backward, _step(spec))
    if not spec.flag("return_sequences"):
        return last
    return hidden[:, ::-1] if backward else hidden


def _step(spec: LayerSpec) -> StepFunction:
    """Return the cell, its gates in Keras' order z, r, h."""
    gate, function = _function(spec, "recurrent_activation"), _function(spec, "activation")
    reset_after = spec.flag("reset_after")

    def step(a_BG: Array, h_BH: Array, w_hh_GH: Array, b_hh_G: Array) -> Step:
        a_z, a_r, a_n = np.split(a_BG, 3, axis=1)
        c_z, c_r, c_n = np.split(h_BH @ w_hh_GH.T + b_hh_G, 3, axis=1)
        z, r = gate(a_z + c_z), gate(a_r + c_r)
        inner = r * c_n if reset_after else (r * h_BH) @ w_hh_GH[-h_BH.shape[1] :].T
        n = function(a_n + inner)
        return Step(z * h_BH + (1.0 - z) * n, r, z, n, c_n)

    return step


def _function(spec: LayerSpec, key: str) -> Function:
    name = activation_name(spec, key)
    if name == "hard_sigmoid":
        old = spec.version.major < 3
        return hard_sigmoid_of_keras_2 if old else hard_sigmoid_of_keras_3
    return ACTIVATIONS[name]


def _shares(raised: Array) -> Array:
    shares: Array = raised / raised.sum(axis=-1, keepdims=True)
    return shares
