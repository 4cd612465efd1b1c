"""Keras' loss, penalties and optimiser as a file was compiled with them, of closed tables.

Only constructors of Keras' own classes are called, with numbers: nothing in the file is resolved.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from parity.keras_files.as_compiled import trained
from parity.keras_files.file_questions import batches
from parity.keras_files.inputs import fed
from parity.question import Arrays, Question
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
_OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
_OF_OPTIMIZERS = (
    *("learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad", "rho", "momentum", "centered"),
    *("nesterov", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm"),
)
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
    optimizer = optimizer_of(question.settings["compiled"], question.settings["before_2_4"])
    optimizer.build(moving)
    losses, snapshots = [], []
    for number, batch in enumerate(batches(question), start=1):
        [x] = fed(batch).values()
        total, gradients = traced(tf.constant(x), tf.constant(batch.inputs["label"]))
        optimizer.apply([tf.convert_to_tensor(each) for each in gradients], moving)
        losses.append(float(total))
        if number % question.settings["every"] == 0:
            snapshots.append({name: np.asarray(v.numpy()) for name, v in variables.items()})
    return trained(losses, snapshots)


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
    name, given = _named(said)
    chosen = {k: v for k, v in given.items() if k in _OF_LOSSES and v is not None}
    return getattr(keras.losses, _LOSSES[name.lower()])(**chosen, dtype=dtype)


def optimizer_of(raw: Mapping[str, Any], before_2_4: bool) -> Any:
    """Return the optimiser that a file was compiled with, or Adam.

    Args:
        raw: What the file says of `compile`.
        before_2_4: Whether a Keras outside TensorFlow wrote it: its clipnorm was of all variables.
    """
    name, given = _named(raw.get("optimizer_config") or raw.get("optimizer") or "adam")
    given = {"learning_rate": given["lr"], **given} if "lr" in given else dict(given)
    if isinstance(rate := given.get("learning_rate"), dict):  # a schedule, which is named
        given["learning_rate"] = rate["config"]["initial_learning_rate"]
    if before_2_4 and given.get("clipnorm"):
        given["global_clipnorm"], given["clipvalue"] = given.pop("clipnorm"), None
    kind = _OPTIMIZERS[name.rpartition(">")[2].lower()]
    own = {k: v for k, v in given.items() if k in _OF_OPTIMIZERS and v is not None}
    rules = [rule for rule in ("clipnorm", "global_clipnorm", "clipvalue") if own.get(rule)]
    for rule in rules[1:]:  # Keras refuses several, and older ones took the first
        del own[rule]
    return getattr(keras.optimizers, kind)(**own)


def _named(said: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(said, str):
        return said, {}
    config = said.get("config")
    if isinstance(config, dict):
        return said["class_name"], config
    return str(config), {}  # a function is noted by its name


def penalty_of(variables: Mapping[str, Any]) -> Any:
    """Return what Keras' regularisers of weights add, those that `fit` takes over."""
    terms = [
        variable.regularizer(variable)
        for variable in variables.values()
        if variable.trainable and isinstance(variable.regularizer, _PENALTIES)
    ]
    return tf.add_n(terms) if terms else 0.0


def label_of(label: Any, like: Any, loss: Any, labels: str) -> Any:
    """Return the labels of `fit` as a Keras loss takes them: classes as ids, or one-hot."""
    if labels != "classes":
        return label
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        return label
    if like.shape[-1] == 1:
        return tf.cast(label[..., None], like.dtype)
    return tf.one_hot(label, like.shape[-1], dtype=like.dtype)
