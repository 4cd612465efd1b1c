"""Keras' optimisers, by the names that questions have for them."""

from collections.abc import Callable
from typing import Any

from parity.question import Question
from parity.sides.keras_setup import keras

HYPERPARAMETERS = ("lr", "momentum", "weight_decay")
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda lr: keras.optimizers.SGD(lr),
    "momentum": lambda lr, momentum: keras.optimizers.SGD(lr, momentum=momentum),
    "adam": lambda lr: keras.optimizers.Adam(lr),
    "rmsprop": lambda lr: keras.optimizers.RMSprop(lr),
    "adamw": lambda lr, weight_decay: keras.optimizers.AdamW(lr, weight_decay=weight_decay),
}


def variables_for(question: Question) -> list[Any]:
    """Return a Keras variable for each weight of a question."""
    return [keras.Variable(array, dtype=question.dtype) for array in question.weights.values()]
