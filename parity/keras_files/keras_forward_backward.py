"""One pass of a Keras model forward and backward: outputs, losses and gradients."""

from collections.abc import Mapping, Sequence
from typing import Any

from parity.sides.keras_setup import keras, tf

ERROR = "squared error"
LOSSES = {
    "categorical": keras.losses.CategoricalCrossentropy,
    "binary": keras.losses.BinaryCrossentropy,
    ERROR: keras.losses.MeanSquaredError,
}


def forward_and_backward(
    model: Any,
    variables: Mapping[str, Any],
    tensors: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return outputs, cotangent sums, losses, and gradients of what ``share`` chooses of them."""
    inputs = {name: tensors[f"input.{name}"] for name in settings["inputs"]}
    leaves = {f"input {n}": each for n, each in inputs.items() if each.dtype.is_floating}
    leaves = {name: v.value for name, v in variables.items()} | leaves
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        fed_inputs = [*inputs.values()]
        flat = outputs_of(model, fed_inputs, settings["as_in_training"])
        outputs = dict(zip(settings["outputs"], flat, strict=True))
        terms = {
            "pulls": {n: tf.reduce_sum(y * tensors[f"pull.{n}"]) for n, y in outputs.items()},
            "errors": {n: _loss(ERROR, tensors[f"target.{n}"], y) for n, y in outputs.items()},
            "heads": {
                n: _loss(settings["heads"][n], tensors[f"target.{n}"], y)
                for n, y in outputs.items()
            },
        }
        sums = tf.stack([tf.add_n([*each.values()]) for each in terms.values()])
        objective = tf.reduce_sum(sums * tensors["share"])
    gradients = tape.gradient(objective, leaves, unconnected_gradients="zero")
    answer = {f"output.{name}": output for name, output in outputs.items()}
    answer |= {f"{term}.{n}": each for term, named in terms.items() for n, each in named.items()}
    return answer | {f"grad.{n}": tf.convert_to_tensor(g) for n, g in gradients.items()}


def outputs_of(model: Any, inputs: Sequence[Any], training: bool) -> list[Any]:
    """Return the model's outputs, one after the other."""
    found = model([*inputs] if len(inputs) > 1 else inputs[0], training=training)
    # identity drops masks, which would weigh losses, and the logits that Keras remembers
    return [tf.identity(each) for each in keras.tree.flatten(found)]


def _loss(kind: str, target: Any, output: Any) -> Any:
    return LOSSES[kind](dtype=output.dtype.name)(target, output)
