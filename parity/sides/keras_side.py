"""Their answers: Keras layers, losses and optimisers; the only file that imports TensorFlow."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from typing import Any, Literal

# Before TensorFlow is imported: oneDNN reorders sums, and its log lines drown ours.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

from grulight.keras_files.layers.layout import network_to_keras, network_to_torch
from parity.cases import Array, Arrays, Network, Question, batches_of, gradients_of


@contextmanager
def _silence() -> Iterator[None]:
    """Drop what TensorFlow's C++ start prints, before any log level holds, and its warnings."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


# torch imports Triton where it is installed, sooner or later; after TensorFlow, their two copies
# of LLVM end the process (triton 3.9 with TensorFlow 2.21).
with suppress(ImportError):
    import_module("triton")

with _silence():
    import keras
    import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # else it advises on tracing

Mode = Literal["eager", "function", "xla"]
Tensors = dict[str, Any]
Variables = list[Any]
HYPERPARAMETERS = ("lr", "momentum", "weight_decay")

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda lr: keras.optimizers.SGD(lr),
    "momentum": lambda lr, momentum: keras.optimizers.SGD(lr, momentum=momentum),
    "adam": lambda lr: keras.optimizers.Adam(lr),
    "rmsprop": lambda lr: keras.optimizers.RMSprop(lr),
    "adamw": lambda lr, weight_decay: keras.optimizers.AdamW(lr, weight_decay=weight_decay),
}


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


class KerasSide:
    """Answer questions with Keras on TensorFlow's CPU.

    Args:
        mode: Run layers eagerly, traced by ``tf.function``, or compiled by XLA.
    """

    def __init__(self, mode: Mode = "function") -> None:
        self.mode = mode
        self._made: dict[tuple[Any, ...], Any] = {}

    @property
    def name(self) -> str:
        """What computes, for reports."""
        return f"keras {keras.__version__}, tensorflow {tf.__version__} ({self.mode})"

    def __call__(self, question: Question) -> Arrays:
        """Compute what a question asks."""
        answer: Arrays = getattr(self, f"_{question.task}")(question)
        return answer

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """Make a thing at the first call, return the same one later."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _model(self, question: Question) -> KerasNetwork:
        sizes = (question.network, question.dtype)
        model: KerasNetwork = self._once(sizes, lambda: KerasNetwork(*sizes))
        model.load(question.weights)
        return model

    def _run(self, question: Question, what: str, body: Callable[[Tensors], Tensors]) -> Arrays:
        """Run ``body`` on the question's inputs in this side's mode; trace it once per shape."""
        inputs = {name: tf.constant(array) for name, array in question.inputs.items()}
        if self.mode == "eager":
            return _numpy(body(inputs))
        shapes = {name: [None] * tensor.ndim for name, tensor in inputs.items()}
        for name in shapes.keys() & {"values", "logits"}:
            shapes[name][-1] = inputs[name].shape[-1]
        signature = {n: tf.TensorSpec(shape, inputs[n].dtype) for n, shape in shapes.items()}
        key = (what, question.network, question.dtype, *sorted(signature))
        jit = self.mode == "xla"
        traced = self._once(
            key, lambda: tf.function(body, [signature], autograph=False, jit_compile=jit)
        )
        return _numpy(traced(inputs))

    def _weights(self, question: Question) -> Arrays:
        """Store ported weights in Keras variables and read them back."""
        model = self._model(question)
        variables = {f"keras.{name}": v.numpy() for name, v in model.variables().items()}
        return {f"weights.{name}": w for name, w in model.weights().items()} | variables

    def _network(self, question: Question) -> Arrays:
        """Run the layers forward, and backward from random cotangents and from the loss."""
        model = self._model(question)

        def body(inputs: Tensors) -> Tensors:
            leaves = {name: inputs[name] for name in ("values", "h0") if name in inputs}
            variables = {name: v.value for name, v in model.variables().items()}
            with tf.GradientTape() as tape:
                tape.watch(leaves)
                answer = model.forward(inputs)
                loss = cross_entropy(answer["logits"], inputs["labels"], from_logits=True)
                pulls = [
                    tf.reduce_sum(answer[name.removeprefix("pull.")] * cotangent)
                    for name, cotangent in inputs.items()
                    if name.startswith("pull.")
                ]
                objective = inputs["share"][0] * tf.add_n(pulls) + inputs["share"][1] * loss
            gradients = tape.gradient(objective, leaves | variables, unconnected_gradients="zero")
            answer |= {"probabilities": probabilities(answer["logits"]), "loss": loss}
            return answer | {f"grad.{name}": gradient for name, gradient in gradients.items()}

        def run(*share: float) -> Arrays:
            # one traced function for both objectives: tracing gradients of loops is slow
            inputs = question.inputs | {"share": np.array(share, question.dtype)}
            return self._run(replace(question, inputs=inputs), "network", body)

        answer, of_loss = run(1.0, 0.0), run(0.0, 1.0)
        answer |= {f"loss{n}": array for n, array in of_loss.items() if n.startswith("grad.")}
        return _in_torch_layout(answer)

    def _losses(self, question: Question) -> Arrays:
        """Return the loss of given logits, directly and from probabilities alone."""

        def body(inputs: Tensors) -> Tensors:
            logits, labels = inputs["logits"], inputs["labels"]
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(logits)
                # identity hides from Keras that a softmax made these, so that it clips them
                hidden = tf.identity(probabilities(logits))
                losses = {
                    "logits": cross_entropy(logits, labels, from_logits=True),
                    "probabilities": cross_entropy(hidden, labels, from_logits=False),
                }
            slopes = {f"slope.{name}": tape.gradient(loss, logits) for name, loss in losses.items()}
            return {f"loss.{name}": loss for name, loss in losses.items()} | slopes

        return self._run(question, "losses", body)

    def _steps(self, question: Question) -> Arrays:
        """Return the weights along the steps of an optimiser."""
        names, every = list(question.weights), question.settings["every"]
        optimizer, variables = self._optimizer(question, lambda: _variables(question))
        for name, variable in zip(names, variables, strict=True):
            variable.assign(question.weights[name])

        def apply(gradients: Variables) -> None:
            optimizer.apply(gradients, variables)

        jit = self.mode == "xla"
        traced = self._once((id(optimizer),), lambda: tf.function(apply, jit_compile=jit))
        step = apply if self.mode == "eager" else traced
        snapshots = []
        for number, gradients in enumerate(gradients_of(question), start=1):
            step([tf.constant(gradients[name]) for name in names])
            if number % every == 0:
                snapshots.append({n: v.numpy() for n, v in zip(names, variables, strict=True)})
        return _stacked("step", snapshots)

    def _training(self, question: Question) -> Arrays:
        """Train as ``Model.fit`` does, softmax output and Adam, in the given order of batches."""
        model = self._model(question)
        optimizer, variables = self._optimizer(question, lambda: list(model.variables().values()))

        def body(inputs: Tensors) -> Tensors:
            with tf.GradientTape() as tape:
                # Keras finds the logits behind these probabilities, as in Model.fit
                output = probabilities(model.forward(inputs)["logits"])
                loss = cross_entropy(output, inputs["labels"], from_logits=False)
            optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
            return {"loss": loss}

        losses: list[Any] = []
        snapshots = []
        for batch in batches_of(question):
            losses.append(self._run(batch, "training", body)["loss"])
            if len(losses) % question.settings["every"] == 0:
                snapshots.append(model.weights())
        return {"train.loss": np.array(losses)} | _stacked("train", snapshots)

    def _optimizer(
        self, question: Question, make: Callable[[], Variables]
    ) -> tuple[Any, Variables]:
        """Return a question's optimiser as if new, and the variables that it moves.

        Building one anew would mean tracing anew.
        """
        settings = {name: v for name, v in question.settings.items() if name in HYPERPARAMETERS}
        kind = question.settings["optimizer"]

        def build() -> tuple[Any, Variables]:
            optimizer, variables = OPTIMIZERS[kind](**settings), make()
            optimizer.build(variables)
            return optimizer, variables

        key = (question.task, kind, question.network, question.dtype)
        optimizer, variables = self._once(key, build)
        for variable in optimizer.variables:
            if variable is not optimizer.learning_rate:
                variable.assign(tf.zeros_like(variable))
        return optimizer, variables


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


def _variables(question: Question) -> Variables:
    return [keras.Variable(array, dtype=question.dtype) for array in question.weights.values()]


def _stacked(prefix: str, snapshots: list[Arrays]) -> Arrays:
    return {f"{prefix}.{n}": np.stack([each[n] for each in snapshots]) for n in snapshots[0]}


def _numpy(tensors: Tensors) -> Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _in_torch_layout(answer: Arrays) -> Arrays:
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
