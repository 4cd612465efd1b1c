"""The pipeline that users come from: a compiled Keras model and ``Model.fit``, seed by seed."""

from typing import Any

import numpy as np

from parity.question import Array, Arrays, Network
from parity.sides.keras_setup import keras


def train_seeds(network: Network, data: Arrays, held_out: Arrays, seeds: int) -> Arrays:
    """Train the original pipeline with fresh weights and orders; return its test figures."""
    found = []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = original_pipeline(network)
        model.fit(*_fit_inputs(network, data), epochs=5, batch_size=32, verbose=0)
        found.append(model.evaluate(*_fit_inputs(network, held_out), verbose=0))
    loss, accuracy = np.array(found, np.float64).T
    return {"loss": loss, "accuracy": accuracy}


def original_pipeline(network: Network) -> Any:
    """Return the compiled Keras model that users come from: GRU layers, softmax, Adam."""
    values = keras.Input((None, network.input_size))
    mask = keras.Input((None,), dtype="bool")
    x = values
    for number in range(network.num_layers):
        top = number == network.num_layers - 1
        gru = keras.layers.GRU(network.hidden_size, use_bias=network.bias, return_sequences=not top)
        x = (keras.layers.Bidirectional(gru) if network.bidirectional else gru)(x, mask=mask)
    binary = network.num_outputs == 1
    head = keras.layers.Dense(network.num_outputs, activation="sigmoid" if binary else "softmax")
    model = keras.Model([values, mask], head(x))
    loss = "binary_crossentropy" if binary else "categorical_crossentropy"
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    return model


def _fit_inputs(network: Network, data: Arrays) -> tuple[list[Array], Array]:
    values, labels = data["values"].astype(np.float32), data["labels"]
    lengths = data.get("lengths", np.full(len(values), values.shape[1]))
    mask = np.arange(values.shape[1]) < lengths[:, None]
    binary = network.num_outputs == 1
    return [values, mask], labels[:, None] if binary else np.eye(network.num_outputs)[labels]
