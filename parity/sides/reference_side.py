"""The judge's answers: the NumPy GRU of ``grulight.kernels.reference``."""

import numpy as np

from grulight.kernels import reference
from grulight.kernels.reference import StepFunction, gru_step
from parity.question import Arrays, Question


def answer(question: Question) -> Arrays:
    """Answer a "network" or "losses" question."""
    return losses(question) if question.task == "losses" else network(question)


def forward(question: Question, step: StepFunction = gru_step) -> tuple[Arrays, reference.Forward]:
    """Run the network forward, with a cell of choice; return the answer's arrays and the tape."""
    inputs = question.inputs
    out = reference.network_forward(
        question.weights, inputs["values"], inputs.get("lengths"), inputs.get("h0"), step
    )
    found = {f"hidden.{name}": array for name, array in out.hidden.items()}
    found |= {f"last.{name}": array for name, array in out.last.items()}
    return found | outputs(out.logits_BC, inputs["labels"]), out


def outputs(logits: np.ndarray, labels: np.ndarray) -> Arrays:
    """Return logits, probabilities and the loss."""
    loss, _ = reference.cross_entropy(logits, labels)
    return {
        "logits": logits,
        "probabilities": reference.probabilities(logits),
        "loss": np.asarray(loss, logits.dtype),
    }


def network(question: Question) -> Arrays:
    """Run the network forward, and backward from random cotangents and from the loss."""
    found, out = forward(question)
    return found | gradients(question, out)


def gradients(question: Question, out: reference.Forward) -> Arrays:
    """Flow back from random cotangents and from the loss."""
    inputs = question.inputs
    pulls = {n: inputs[f"pull.hidden.{n}"] for n in out.hidden if f"pull.hidden.{n}" in inputs}
    _, d_logits = reference.cross_entropy(out.logits_BC, inputs["labels"])
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
    """Return the loss of given logits, directly and from clipped probabilities."""
    logits, labels = question.inputs["logits"], question.inputs["labels"]
    p = reference.probabilities(logits)
    loss, slope = reference.cross_entropy(logits, labels)
    clipped, d_p = reference.clipped_cross_entropy(p, labels)
    binary = logits.shape[1] == 1
    d_logits = d_p * p * (1 - p) if binary else p * (d_p - (d_p * p).sum(axis=1, keepdims=True))
    return {
        "loss.logits": np.asarray(loss, logits.dtype),
        "loss.probabilities": np.asarray(clipped, logits.dtype),
        "slope.logits": slope,
        "slope.probabilities": d_logits,
    }
