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
        return answer | {"logits": self.dense(tf.concat(last, axis=-1))}


def probabilities(logits: Any) -> Any:
    """Return softmax, or for one logit the sigmoid, as Keras' output layers compute them."""
    binary = logits.shape[-1] == 1
    return keras.activations.sigmoid(logits) if binary else keras.activations.softmax(logits)


def cross_entropy(output: Any, labels: Any, from_logits: bool) -> Any:
    """Return the batch loss of Keras' loss classes for one-hot or binary labels."""
    kind, targets = keras.losses.CategoricalCrossentropy, None
    if output.shape[-1] == 1:
        kind, targets = keras.losses.BinaryCrossentropy, tf.cast(labels[:, None], output.dtype)
    else:
        targets = tf.one_hot(labels, output.shape[-1], dtype=output.dtype)
    # a loss computes in float32 unless told otherwise, whatever the dtype of the model
    return kind(from_logits=from_logits, dtype=output.dtype.name)(targets, output)


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
