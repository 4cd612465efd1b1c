"""`.keras`: a checkpoint as a Keras model, its weights moved bit for bit.

Keras is imported here on first use.
"""

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from grulight.errors import InputError
from grulight.exporting.inputs import Array, Trial
from grulight.exporting.keras_build import Builder, same_weights
from grulight.exporting.keras_layers import ModelPlan, plan_of
from grulight.exporting.subject import Subject
from grulight.exporting.trials import trials
from grulight.exporting.verification import Written, distance, require_same
from grulight.extras import extra
from grulight.heads import ClassHead
from grulight.model import GRUNet

# oneDNN would reorder sums
BACKEND = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def write_keras(subject: Subject, path: Path) -> Written:
    """Write a `.keras` file, open it with Keras, and prove its weights and its parts.

    Raises:
        InputError: Keras is missing, or the network cannot be told in its layers.
    """
    if subject.lengths:
        raise InputError("a .keras file takes no lengths; choose .onnx or .pt2, or leave it out.")
    keras = _keras()
    plan = plan_of(subject)
    standard = _standardization(keras, subject)
    _prove_in_float64(keras, subject, plan)
    Builder(keras, _precision(subject)).model(plan, standard).save(path)
    opened = keras.models.load_model(path)
    if not same_weights(opened, plan):
        raise InputError("Keras does not give the weights back bit for bit; nothing was written.")
    counts = f"{len(opened.layers)} layers, {opened.count_params():,} parameters"

    def ask(trial: Trial) -> list[Array]:
        answers = _answers(keras, opened, subject, trial)
        return [_per_class(answers[0])] if _one_for_two(subject) else answers

    return Written(ask, f"Keras {keras.__version__}", counts)


def _precision(subject: Subject) -> str:
    network = subject.model if subject.classifier is None else subject.classifier.network
    assert network is not None
    return str(next(network.parameters()).dtype).removeprefix("torch.")


def _keras() -> ModuleType:
    """Import Keras; its backend prints to the terminal before any log level holds."""
    for name, value in BACKEND.items():
        os.environ.setdefault(name, value)
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            return extra("keras", "parity", ".keras export")
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _standardization(keras: ModuleType, subject: Subject) -> Any:
    """Return the layer that standardises as the checkpoint does, bit for bit; None for none."""
    if subject.statistics is None:
        return None
    mean, scale = (each.numpy() for each in subject.statistics)
    # the square of a float32 is a float64 exactly, and its root is that float32 again
    settings = {"mean": mean.tolist(), "variance": (scale.astype(np.float64) ** 2).tolist()}
    if subject.model is not None:
        settings["name"] = _unused("standardization", subject.model.network.graph.layers)
    layer = keras.layers.Normalization(**settings)
    [given] = subject.inputs
    for trial in trials(subject).values():
        values = trial[given.name]
        theirs = keras.ops.convert_to_numpy(layer(values))
        if distance((values - mean) / scale, theirs):
            raise InputError(
                "Keras' Normalization, which squares the scale, does not standardise bit for bit "
                "as this checkpoint does. Choose .onnx or .pt2."
            )
    return layer


def _unused(name: str, names: Any) -> str:
    while name in names:
        name += "_"
    return name


def _prove_in_float64(keras: ModuleType, subject: Subject, plan: ModelPlan) -> None:
    """Check that the layers behind the standardisation compute the network's function.

    Normalization is not among them, because it keeps its variance in float32 in every precision.
    """
    exact, model = subject.in_float64(), Builder(keras, "float64").model(plan)
    for trial in trials(subject).values():
        wide = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in trial.items()}
        ours, single = _network_answers(exact, wide), _network_answers(subject, trial)
        require_same(ours, single, _answers(keras, model, subject, wide))


def _network_answers(subject: Subject, trial: Trial) -> list[Array]:
    """Return a network's answers to standardised values, as Keras gives them."""
    tensors = [torch.from_numpy(trial[each.name]) for each in subject.inputs]
    with torch.no_grad():
        if subject.model is not None:
            answered = subject.model(*tensors)
            several = (answered,) if isinstance(answered, torch.Tensor) else answered
            return [each.numpy() for each in several]
        assert subject.classifier is not None
        assert isinstance(subject.classifier.network, GRUNet)
        answered = subject.classifier.network(*tensors)
        if _one_for_two(subject):
            return [answered.sigmoid().numpy()]
        return [subject.classifier.head.prediction(answered).numpy()]


def _answers(keras: ModuleType, model: Any, subject: Subject, trial: Trial) -> list[Array]:
    given = [trial[each.name] for each in subject.inputs]
    answered = model(given[0] if len(given) == 1 else given, training=False)
    return [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(answered)]


def _one_for_two(subject: Subject) -> bool:
    """Return whether Keras has one probability where the checkpoint has those of two classes."""
    if subject.model is not None or subject.classifier is None:
        return False
    head = subject.classifier.head
    return isinstance(head, ClassHead) and head.size == 1


def _per_class(answer: Array) -> Array:
    """Return probabilities (..., class) of that of the second class alone."""
    return np.concatenate((1 - answer, answer), -1)
