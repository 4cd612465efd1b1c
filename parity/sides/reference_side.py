"""The judge's answers: the NumPy GRU of ``grulight.kernels.reference``."""

import numpy as np

from grulight.kernels import reference
from grulight.kernels.reference import StepFunction, gru_step
from parity.question import Array, Arrays, Network, Question


def answer(question: Question) -> Arrays:
    """Answer a "network" or "losses" question."""
    return losses(question) if question.task == "losses" else network(question)


def forward(question: Question, step: StepFunction = gru_step) -> tuple[Arrays, reference.Forward]:
    """Run the network forward, with a cell of choice; return the answer's arrays and the tape."""
    inputs, per_step = question.inputs, question.network.per_step
    lengths = inputs.get("lengths")
    out = reference.network_forward(
        question.weights, inputs["values"], lengths, inputs.get("h0"), step, per_step
    )
    found = {f"hidden.{name}": array for name, array in out.hidden.items()}
    found |= {f"last.{name}": array for name, array in out.last.items()}
    return found | outputs(question, out.logits_BC), out


def outputs(question: Question, logits: Array) -> Arrays:
    """Return logits or values, probabilities and the loss."""
    loss, _ = loss_and_slope(question, logits)
    found = {"logits": logits, "loss": np.asarray(loss, logits.dtype)}
    if question.network.answer != "values":
        found["probabilities"] = probabilities(question.network, logits)
    return found


def probabilities(network: Network, logits: Array) -> Array:
    """Return the probability of each class or label, in rows as the logits."""
    columns = 1 if network.answer == "labels" else logits.shape[-1]
    return reference.probabilities(logits.reshape(-1, columns)).reshape(logits.shape)


def loss_and_slope(question: Question, answers: Array) -> tuple[float, Array]:
    """Return the mean loss of all answers that count, and its derivative by the answers."""
    counted = _counted(question, answers)
    rows, labels = answers[counted], question.inputs["labels"][counted]
    if question.network.answer == "values":
        loss, slope = ((rows - labels) ** 2).mean(), 2 * (rows - labels) / rows.size
    else:
        loss, slope = reference.cross_entropy(*_of_cross_entropy(question, rows, labels))
    found = np.zeros_like(answers)
    found[counted] = slope.reshape(rows.shape)
    return loss, found


def _counted(question: Question, answers: Array) -> Array:
    """Return which answers count: all but those of padding, where there is one for each step."""
    counted = np.ones(answers.shape[:-1], bool)
    if answers.ndim == 3 and "lengths" in question.inputs:
        counted = np.arange(answers.shape[1]) < question.inputs["lengths"][:, None]
    return counted


def _of_cross_entropy(question: Question, rows: Array, labels: Array) -> tuple[Array, Array]:
    """Return rows and labels as the reference takes them: each label is a binary task."""
    if question.network.answer == "classes":
        return rows, labels
    return rows.reshape(-1, 1), labels.reshape(-1).astype(np.int64)


def network(question: Question) -> Arrays:
    """Run the network forward, and backward from random cotangents and from the loss."""
    found, out = forward(question)
    return found | gradients(question, out)


def gradients(question: Question, out: reference.Forward) -> Arrays:
    """Flow back from random cotangents and from the loss."""
    inputs = question.inputs
    pulls = {n: inputs[f"pull.hidden.{n}"] for n in out.hidden if f"pull.hidden.{n}" in inputs}
    _, d_logits = loss_and_slope(question, out.logits_BC)
    grads = {
        "grad": reference.network_backward(question.weights, out, inputs["pull.logits"], pulls),
        "lossgrad": reference.network_backward(question.weights, out, d_logits),
    }
    return {
        f"{prefix}.{name}": array
        for prefix, found in grads.items()
        for name, array in found.items()
        if name != "h0" or "h0" in inputs
    }


def losses(question: Question) -> Arrays:
    """Return the loss of given answers, directly and from clipped probabilities."""
    given = question.inputs["logits"]
    loss, slope = loss_and_slope(question, given)
    found = {"loss.logits": np.asarray(loss, given.dtype), "slope.logits": slope}
    if question.network.answer == "values":
        return found
    logits, labels = _of_cross_entropy(question, given, question.inputs["labels"])
    p = reference.probabilities(logits)
    clipped, d_p = reference.clipped_cross_entropy(p, labels)
    binary = logits.shape[1] == 1
    d_logits = d_p * p * (1 - p) if binary else p * (d_p - (d_p * p).sum(axis=1, keepdims=True))
    return found | {
        "loss.probabilities": np.asarray(clipped, logits.dtype),
        "slope.probabilities": d_logits.reshape(given.shape),
    }
