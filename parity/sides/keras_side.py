"""Their answers: Keras layers, losses and optimisers on TensorFlow."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from parity.question import Arrays, Question, batches_of, gradients_of
from parity.sides.answers import forward_alone, stack_snapshots
from parity.sides.keras_network import (
    KerasNetwork,
    Tensors,
    in_torch_layout,
    loss_of,
    predictions,
)
from parity.sides.keras_optimizers import HYPERPARAMETERS, OPTIMIZERS, variables_for
from parity.sides.keras_setup import keras, tf

Mode = Literal["eager", "function", "xla"]
Variables = list[Any]


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
        settings = {"autograph": False, "jit_compile": self.mode == "xla"}
        traced = self._once(key, lambda: tf.function(body, [signature], **settings))
        return _numpy(traced(inputs))

    def _weights(self, question: Question) -> Arrays:
        """Store ported weights in Keras variables and read them back."""
        model = self._model(question)
        variables = {f"keras.{name}": v.numpy() for name, v in model.variables().items()}
        return {f"weights.{name}": w for name, w in model.weights().items()} | variables

    def _network(self, question: Question) -> Arrays:
        """Run the layers forward, and backward from random cotangents and from the loss."""
        model, network = self._model(question), question.network

        def body(inputs: Tensors) -> Tensors:
            leaves = {name: inputs[name] for name in ("values", "h0") if name in inputs}
            variables = {name: v.value for name, v in model.variables().items()}
            with tf.GradientTape() as tape:
                tape.watch(leaves)
                answer = model.forward(inputs)
                loss = loss_of(network, answer["logits"], inputs, from_logits=True)
                pulls = [
                    tf.reduce_sum(answer[name.removeprefix("pull.")] * cotangent)
                    for name, cotangent in inputs.items()
                    if name.startswith("pull.")
                ]
                objective = inputs["share"][0] * tf.add_n(pulls) + inputs["share"][1] * loss
            gradients = tape.gradient(objective, leaves | variables, unconnected_gradients="zero")
            answer |= {"loss": loss}
            if network.answer != "values":
                answer["probabilities"] = predictions(network, answer["logits"])
            return answer | {f"grad.{name}": gradient for name, gradient in gradients.items()}

        def run(*share: float) -> Arrays:
            # one traced function for both objectives: tracing gradients of loops is slow
            inputs = question.inputs | {"share": np.array(share, question.dtype)}
            return self._run(replace(question, inputs=inputs), "network", body)

        answer, of_loss = run(1.0, 0.0), run(0.0, 1.0)
        answer |= {f"loss{n}": array for n, array in of_loss.items() if n.startswith("grad.")}
        return in_torch_layout(answer)

    def _forward(self, question: Question) -> Arrays:
        """Run the network forward."""
        return forward_alone(self._network(question))

    def _losses(self, question: Question) -> Arrays:
        """Return the loss of given answers, directly and from probabilities alone."""
        network = question.network

        def body(inputs: Tensors) -> Tensors:
            logits = inputs["logits"]
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(logits)
                losses = {"logits": loss_of(network, logits, inputs, from_logits=True)}
                if network.answer != "values":
                    # identity hides from Keras that a softmax made these, so that it clips them
                    hidden = tf.identity(predictions(network, logits))
                    losses["probabilities"] = loss_of(network, hidden, inputs, from_logits=False)
            slopes = {f"slope.{name}": tape.gradient(loss, logits) for name, loss in losses.items()}
            return {f"loss.{name}": loss for name, loss in losses.items()} | slopes

        return self._run(question, "losses", body)

    def _steps(self, question: Question) -> Arrays:
        """Return the weights along the steps of an optimiser."""
        names, every = list(question.weights), question.settings["every"]
        optimizer, variables = self._optimizer(question, lambda: variables_for(question))
        for name, variable in zip(names, variables, strict=True):
            variable.assign(question.weights[name])

        def apply(gradients: Variables) -> None:
            optimizer.apply(gradients, variables)

        settings = {"autograph": False, "jit_compile": self.mode == "xla"}
        traced = self._once((id(optimizer),), lambda: tf.function(apply, **settings))
        step = apply if self.mode == "eager" else traced
        snapshots = []
        for number, gradients in enumerate(gradients_of(question), start=1):
            step([tf.constant(gradients[name]) for name in names])
            if number % every == 0:
                snapshots.append({n: v.numpy() for n, v in zip(names, variables, strict=True)})
        return stack_snapshots("step", snapshots)

    def _training(self, question: Question) -> Arrays:
        """Train as ``Model.fit`` does, softmax output and Adam, in the given order of batches."""
        model, network = self._model(question), question.network
        optimizer, variables = self._optimizer(question, lambda: list(model.variables().values()))

        def body(inputs: Tensors) -> Tensors:
            with tf.GradientTape() as tape:
                # Keras finds the logits behind these probabilities, as in Model.fit
                output = predictions(network, model.forward(inputs)["logits"])
                loss = loss_of(network, output, inputs, from_logits=False)
            optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
            return {"loss": loss}

        losses: list[Any] = []
        snapshots = []
        for batch in batches_of(question):
            losses.append(self._run(batch, "training", body)["loss"])
            if len(losses) % question.settings["every"] == 0:
                snapshots.append(model.weights())
        return {"train.loss": np.array(losses)} | stack_snapshots("train", snapshots)

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


def _numpy(tensors: Tensors) -> Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
