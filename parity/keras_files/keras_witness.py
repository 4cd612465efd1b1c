"""Their answers on a Keras file: outputs, losses, gradients and trainings of a Keras model."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from parity.keras_files.file_questions import batches
from parity.keras_files.inputs import fed
from parity.keras_files.keras_compiled import pass_of, their_steps, their_training
from parity.keras_files.keras_forward_backward import forward_and_backward, outputs_of
from parity.keras_files.keras_open import Opened, variables_of
from parity.question import Arrays, Question
from parity.sides.keras_setup import keras, tf
from parity.sides.keras_side import KerasSide
from parity.sides.quiet import without_warnings


class Witness:
    """Answer questions about a Keras file with Keras on TensorFlow's CPU.

    Args:
        opened: The model.
        reason: Why it is one rebuilt from our own reading, where it is.
    """

    def __init__(self, opened: Opened, reason: str | None = None) -> None:
        self.make, self.name, self.read = opened
        self.reason = reason
        self.steps = KerasSide()
        self.models: dict[str, Any] = {}
        self.traced: dict[tuple[str, str], Any] = {}

    def __call__(self, question: Question) -> Arrays:
        """Compute what a question asks."""
        if question.task == "steps" and "compiled" not in question.settings:
            return self.steps(question)
        with without_warnings(), tf.device("CPU:0"):
            answer: Arrays = getattr(self, f"_{question.task}")(question)
        return answer

    def _loaded(self, question: Question) -> dict[str, Any]:
        """Give the model a question's weights; return its variables."""
        if question.dtype not in self.models:
            with _floatx(question.dtype):
                self.models[question.dtype] = _with_live_weights(self.make(question.dtype))
        variables = variables_of(self.models[question.dtype])
        for name, variable in variables.items():
            variable.assign(question.weights[name])
        return variables

    def _weights(self, question: Question) -> Arrays:
        """Return the weights as read from the file, and random ones as loaded and read back."""
        loaded = {f"keras.{n}": v.numpy() for n, v in self._loaded(question).items()}
        read = {f"weights.{n}": array.astype(question.dtype) for n, array in self.read.items()}
        return read | loaded

    def _network(self, question: Question) -> Arrays:
        """Run the model forward, and backward from random cotangents and from the losses."""
        variables = self._loaded(question)
        answer = self._run(question, variables, "pulls")
        of_loss = self._run(question, variables, "losses")
        return answer | {f"loss{n}": a for n, a in of_loss.items() if n.startswith("grad.")}

    def _steps(self, question: Question) -> Arrays:
        """Step along given gradients with the file's own optimiser."""
        with _floatx(question.dtype):
            return their_steps(self._loaded(question), question)

    def takes(self, question: Question) -> bool:
        """Return whether the model takes as many steps as a question has."""
        self._loaded(question)
        shapes = [tensor.shape for tensor in self.models[question.dtype].inputs]
        return all(
            size in (None, given)
            for shape, array in zip(shapes, fed(question).values(), strict=True)
            for size, given in zip(shape[1:], array.shape[1:], strict=True)
        )

    def _forward(self, question: Question) -> Arrays:
        """Run the model forward, traced once for every number of rows and of steps."""
        self._loaded(question)
        model, given = self.models[question.dtype], list(fed(question).values())
        if ("forward", question.dtype) not in self.traced:
            signature = [
                tf.TensorSpec(tensor.shape, array.dtype)
                for tensor, array in zip(model.inputs, given, strict=True)
            ]
            self.traced["forward", question.dtype] = tf.function(
                lambda *tensors: outputs_of(model, tensors, False), signature, autograph=False
            )
        with _floatx(question.dtype):
            outputs = self.traced["forward", question.dtype](*map(tf.constant, given))
        names = (f"output.{name}" for name in question.settings["outputs"])
        return {name: tensor.numpy() for name, tensor in zip(names, outputs, strict=True)}

    def _run(self, question: Question, variables: dict[str, Any], objective: str) -> Arrays:
        """Run the model once; gradients are of the cotangents or of the losses."""
        settings = question.settings
        given = {f"input.{name}": array for name, array in fed(question).items()}
        given |= {n: a for n, a in question.inputs.items() if n.startswith(("pull.", "target."))}
        kind = "heads" if settings["losses"] == settings["heads"] else "errors"
        # one traced function for all objectives: tracing gradients of loops is slow
        terms = ("pulls", "errors", "heads")
        chosen = kind if objective == "losses" else objective
        given["share"] = np.array([term == chosen for term in terms], question.dtype)
        key = ("training" if settings["as_in_training"] else "inference", question.dtype)
        if key not in self.traced:
            model = self.models[question.dtype]
            signature = {n: tf.TensorSpec([None, *a.shape[1:]], a.dtype) for n, a in given.items()}
            self.traced[key] = tf.function(
                lambda tensors: forward_and_backward(model, variables, tensors, settings),
                [signature],
                autograph=False,
            )
        with _floatx(question.dtype):  # it is traced at its first call
            found = self.traced[key]({n: tf.constant(a) for n, a in given.items()})
        answer = {name: tensor.numpy() for name, tensor in found.items()}
        losses = {f"loss.{name}": answer[f"{kind}.{name}"] for name in settings["losses"]}
        return losses | {n: a for n, a in answer.items() if n.startswith(("output.", "grad."))}

    def _training(self, question: Question) -> Arrays:
        """Train with Adam on the question's batches, one after the other, again and again.

        What trains is what Keras says trains; the answer holds every variable.
        """
        variables, still = self._loaded(question), question.settings["still"]
        if "compiled" in question.settings:
            with _floatx(question.dtype):
                key = ("compiled", question.dtype)
                if key not in self.traced:
                    model = self.models[question.dtype]
                    self.traced[key] = pass_of(model, variables, question)
                return their_training(self.traced[key], variables, question)
        trained = {n: v for n, v in variables.items() if v.trainable and n not in still}
        with _unconstrained(variables.values()):
            return self._adam(question, variables, trained)

    def _adam(
        self, question: Question, variables: dict[str, Any], trained: dict[str, Any]
    ) -> Arrays:
        """Train some variables with Adam; return the losses and snapshots of them all."""
        optimizer, moved = keras.optimizers.Adam(1e-3), [*trained.values()]
        optimizer.build(moved)
        step = tf.function(lambda given: optimizer.apply(given, moved), autograph=False)
        losses, snapshots = [], []
        for number, batch in enumerate(batches(question), start=1):
            found = self._run(batch, variables, "losses")
            losses.append(sum(a for n, a in found.items() if n.startswith("loss.")))
            gradients = [tf.constant(found[f"grad.{name}"]) for name in trained]
            if trained:  # Keras takes no empty list
                step(gradients)
            if number % question.settings["every"] == 0:
                snapshots.append({name: v.numpy() for name, v in variables.items()})
        return {"train.loss": np.array(losses)} | {
            f"train.{name}": np.stack([each[name] for each in snapshots]) for name in variables
        }


class _LiveNormalization(keras.layers.Normalization):  # type: ignore[misc]  # Keras has no types
    """One that reads its variables at each call; Keras' own keeps what they were when loaded."""

    mean = property(lambda self: self._read(self.adapt_mean), lambda self, value: None)
    variance = property(lambda self: self._read(self.adapt_variance), lambda self, value: None)

    def _read(self, variable: Any) -> Any:
        return keras.ops.reshape(variable, self._broadcast_shape)


def _with_live_weights(model: Any) -> Any:
    """Let every layer of a model see that its weights change."""
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.Normalization and layer.input_mean is None:
            layer.__class__ = _LiveNormalization
    return model


@contextmanager
def _unconstrained(variables: Iterable[Any]) -> Iterator[None]:
    """Let Keras' optimisers leave variables as they moved them."""
    held = [(variable, variable.constraint) for variable in variables]
    for variable, _ in held:
        variable.constraint = None
    try:
        yield
    finally:
        for variable, constraint in held:
            variable.constraint = constraint


@contextmanager
def _floatx(dtype: str) -> Iterator[None]:
    """Let Keras make constants in this precision."""
    kept = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(kept)
