"""A GRUNet's twin in Keras: its layers, its weights by a GRUNet's names, output and loss."""

from collections.abc import Mapping
from typing import Any

from grulight.keras_files.layers.layout import network_to_keras, network_to_torch
from parity.question import Array, Arrays, Network
from parity.sides.keras_setup import keras, tf

Tensors = dict[str, Any]


class KerasNetwork:
    """The Keras model that a GRUNet stands for: GRU layers, Dense.

    Args:
        network: Sizes.
        dtype: Precision of the layers.
    """

    def __init__(self, network: Network, dtype: str) -> None:
        self.network, self.dtype = network, dtype
        self.grus = [self._gru(network, dtype) for _ in range(network.num_layers)]
        ways = len(network.directions)
        for number, gru in enumerate(self.grus):
            below = network.hidden_size * ways if number else network.input_size
            gru.build((None, None, below))
        self.dense = keras.layers.Dense(network.num_outputs, dtype=dtype)
        self.dense.build((None, network.hidden_size * ways))

    @staticmethod
    def _gru(network: Network, dtype: str) -> Any:
        gru = keras.layers.GRU(
            network.hidden_size,
            use_bias=network.bias,
            return_sequences=True,
            return_state=True,
            zero_output_for_mask=True,
            dtype=dtype,
        )
        return keras.layers.Bidirectional(gru, dtype=dtype) if network.bidirectional else gru

    def variables(self) -> dict[str, Any]:
        """Return the variables under the names of ``layout.network_to_keras``."""
        found: dict[str, Any] = {}
        for number, gru in enumerate(self.grus):
            both = [gru.forward_layer, gru.backward_layer] if self.network.bidirectional else [gru]
            for way, layer in zip(self.network.directions, both, strict=True):
                cell = layer.cell
                parts = {"kernel": cell.kernel, "recurrent_kernel": cell.recurrent_kernel}
                parts |= {"bias": cell.bias} if self.network.bias else {}
                found |= {f"gru_{number}/{way}/{part}": value for part, value in parts.items()}
        return found | {"dense/kernel": self.dense.kernel, "dense/bias": self.dense.bias}

    def load(self, weights: Mapping[str, Array]) -> None:
        """Set all variables from a GRUNet's ``state_dict``."""
        variables = self.variables()
        arrays = network_to_keras(weights)
        if variables.keys() != arrays.keys():
            raise ValueError(f"Expected {sorted(variables)}, got {sorted(arrays)}.")
        for name, variable in variables.items():
            variable.assign(arrays[name])

    def weights(self) -> Arrays:
        """Return all variables as a GRUNet's ``state_dict``."""
        return network_to_torch({name: v.numpy() for name, v in self.variables().items()})

    def forward(self, inputs: Tensors) -> Tensors:
        """Return hidden states, last states and logits; lengths become a mask."""
        x, mask = inputs["values"], None
        answer: Tensors = {}
        if "lengths" in inputs:
            mask = tf.sequence_mask(inputs["lengths"], tf.shape(x)[1])
        ways = len(self.network.directions)
        for number, gru in enumerate(self.grus):
            states = None
            if "h0" in inputs:
                states = [inputs["h0"][number * ways + way] for way in range(ways)]
            x, *last = gru(x, mask=mask, initial_state=states)
            parts = tf.split(x, ways, axis=-1)
            for way, part, state in zip(self.network.directions, parts, last, strict=True):
                answer |= {f"hidden.l{number}.{way}": part, f"last.l{number}.{way}": state}
        read = x if self.network.per_step else tf.concat(last, axis=-1)
        return answer | {"logits": self.dense(read)}


def predictions(network: Network, answers: Any) -> Any:
    """Return probabilities as Keras' output layers compute them, or values as they are."""
    if network.answer == "values":
        return answers
    several = network.answer == "classes" and answers.shape[-1] > 1
    return keras.activations.softmax(answers) if several else keras.activations.sigmoid(answers)


def loss_of(network: Network, output: Any, inputs: Tensors, *, from_logits: bool) -> Any:
    """Return the batch loss of Keras' loss classes.

    Args:
        network: What its answers mean.
        output: Logits, probabilities or values.
        inputs: With ``labels``: classes, labels or values; and maybe ``lengths``, which become the
            mask that Keras' losses look for at an output for each step.
        from_logits: Whether the output are logits.
    """
    labels = inputs["labels"]
    settings: dict[str, Any] = {"dtype": output.dtype.name}  # else a loss computes in float32
    targets = tf.cast(labels, output.dtype)
    if network.answer == "values":
        kind = keras.losses.MeanSquaredError
    elif network.answer == "classes" and output.shape[-1] > 1:
        kind, settings["from_logits"] = keras.losses.CategoricalCrossentropy, from_logits
        targets = tf.one_hot(labels, output.shape[-1], dtype=output.dtype)
    else:
        kind, settings["from_logits"] = keras.losses.BinaryCrossentropy, from_logits
        targets = targets if network.answer == "labels" else targets[..., None]
    if network.per_step and "lengths" in inputs:
        output._keras_mask = tf.sequence_mask(inputs["lengths"], tf.shape(output)[1])
    return kind(**settings)(targets, output)


def in_torch_layout(answer: Arrays) -> Arrays:
    """Give gradients of Keras variables the names and the layout of GRUNet's parameters."""
    moved = {name: array for name, array in answer.items() if "/" not in name}
    for prefix in ("grad", "lossgrad"):
        gradients = {
            name.removeprefix(f"{prefix}."): array
            for name, array in answer.items()
            if "/" in name and name.startswith(f"{prefix}.")
        }
        moved |= {f"{prefix}.{n}": array for n, array in network_to_torch(gradients).items()}
    return moved
