"""Keras' loss, penalties and training as a file was compiled with them, of closed tables.

Only constructors of Keras' own classes are called, with numbers: nothing in the file is resolved.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from parity.keras_files.as_compiled import rates_of, stepped, trained
from parity.keras_files.file_questions import batches
from parity.keras_files.inputs import fed
from parity.keras_files.keras_optimizers import named, optimizer_of
from parity.question import Arrays, Question, gradients_of
from parity.sides.keras_setup import keras, tf

_LOSSES = {
    **dict.fromkeys(("mean_squared_error", "mse", "meansquarederror"), "MeanSquaredError"),
    **dict.fromkeys(("mean_absolute_error", "mae", "meanabsoluteerror"), "MeanAbsoluteError"),
    **dict.fromkeys(("huber", "huber_loss"), "Huber"),
    **dict.fromkeys(("log_cosh", "logcosh"), "LogCosh"),
    **dict.fromkeys(("binary_crossentropy", "binarycrossentropy"), "BinaryCrossentropy"),
    **dict.fromkeys(
        ("categorical_crossentropy", "categoricalcrossentropy"), "CategoricalCrossentropy"
    ),
    **dict.fromkeys(
        ("sparse_categorical_crossentropy", "sparsecategoricalcrossentropy"),
        "SparseCategoricalCrossentropy",
    ),
}
_OF_LOSSES = ("from_logits", "label_smoothing", "delta")
_BY_HEAD = {
    "categorical": "CategoricalCrossentropy",
    "binary": "BinaryCrossentropy",
    "squared error": "MeanSquaredError",
}
_PENALTIES = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


Pass = Callable[[Any, Any], Any]  # a batch and its labels: the loss and the gradients


def their_training(traced: Pass, variables: Mapping[str, Any], question: Question) -> Arrays:
    """Train a Keras model as its file was compiled.

    Args:
        traced: See `pass_of`.
        variables: All of the model, by name, with the weights to start from.
        question: See `as_compiled`.
    """
    moving = _moving(variables, question)
    optimizer, rates = optimizer_of(question)
    optimizer.build(moving)
    losses, snapshots = [], []
    for number, batch in enumerate(batches(question), start=1):
        [x] = fed(batch).values()
        total, gradients = traced(tf.constant(x), tf.constant(batch.inputs["label"]))
        if rates is not None:
            optimizer.learning_rate = question.settings["rates"][number - 1]
        optimizer.apply([tf.convert_to_tensor(each) for each in gradients], moving)
        losses.append(float(total))
        if number % question.settings["every"] == 0:
            snapshots.append({name: np.asarray(v.numpy()) for name, v in variables.items()})
    return trained(losses, snapshots) | rates_of(question, rates or [])


def their_steps(variables: Mapping[str, Any], question: Question) -> Arrays:
    """Step along given gradients with the optimiser that a file was compiled with.

    Args:
        variables: See `their_training`.
        question: See `steps_as_compiled`.
    """
    names = question.settings["trained"]
    moving, snapshots = [variables[name] for name in names], []
    optimizer, rates = optimizer_of(question)
    optimizer.build(moving)
    for number, gradients in enumerate(gradients_of(question), start=1):
        if rates is not None:
            optimizer.learning_rate = question.settings["rates"][number - 1]
        optimizer.apply([tf.constant(gradients[name]) for name in names], moving)
        if number % question.settings["every"] == 0:
            snapshots.append({name: np.asarray(v.numpy()) for name, v in variables.items()})
    return stepped(snapshots) | rates_of(question, rates or [])


def _moving(variables: Mapping[str, Any], question: Question) -> list[Any]:
    still = question.settings["still"]
    return [v for name, v in variables.items() if v.trainable and name not in still]


def pass_of(model: Any, variables: Mapping[str, Any], question: Question) -> Pass:
    """Return a pass of a model forward and backward, as its file was compiled."""
    settings = question.settings
    [head] = settings["heads"].values()
    loss = loss_of(settings["compiled"], head, question.dtype)
    values = [each.value for each in _moving(variables, question)]

    def run(x: Any, label: Any) -> Any:
        with tf.GradientTape() as tape:
            y = model(x, training=settings["as_in_training"])
            total = loss(label_of(label, y, loss, settings["labels"]), y) + penalty_of(variables)
            total += activity_of(model, settings["activities"])
        return total, tape.gradient(total, values, unconnected_gradients="zero")

    return tf.function(run, autograph=False)  # type: ignore[no-any-return]  # no types there


def loss_of(raw: Mapping[str, Any], head: str, dtype: str) -> Any:
    """Return the loss that a file was compiled with, or the one that suits its answers."""
    said = raw.get("loss")
    if isinstance(said, dict) and "class_name" not in said:
        [said] = said.values()
    if isinstance(said, list):
        [said] = said
    if not said:
        return getattr(keras.losses, _BY_HEAD[head])(dtype=dtype)
    name, given = named(said)
    chosen = {k: v for k, v in given.items() if k in _OF_LOSSES and v is not None}
    return getattr(keras.losses, _LOSSES[name.lower()])(**chosen, dtype=dtype)


def penalty_of(variables: Mapping[str, Any]) -> Any:
    """Return what Keras' regularisers of weights add, those that `fit` takes over."""
    terms = [
        variable.regularizer(variable)
        for variable in variables.values()
        if variable.trainable and isinstance(variable.regularizer, _PENALTIES)
    ]
    return tf.add_n(terms) if terms else 0.0


def activity_of(model: Any, names: Collection[str]) -> Any:
    """Return what Keras' regularisers of activities added in the last call, of some layers."""
    layers = [each for each in model._flatten_layers() if name_of(each) in names]
    terms = [term for each in layers for term in each._get_own_losses()]
    return tf.add_n(terms) if terms else 0.0


def name_of(layer: Any) -> str:
    """Return a layer's name in the file."""
    return str(getattr(layer, "file_name", layer.name))


def label_of(label: Any, like: Any, loss: Any, labels: str) -> Any:
    """Return the labels of `fit` as a Keras loss takes them: classes as ids, or one-hot."""
    if labels != "classes":
        return label
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        return label
    if like.shape[-1] == 1:
        return tf.cast(label[..., None], like.dtype)
    return tf.one_hot(label, like.shape[-1], dtype=like.dtype)
