"""`.keras`: a checkpoint as a Keras model, its weights moved bit for bit.

Keras is imported here on first use, and only the layers of `plans.KEYS` are made.
"""

import copy
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from grulight.errors import InputError
from grulight.exporting.keras_layers import Plan, plans_of
from grulight.exporting.verification import (
    Array,
    Written,
    bound_of,
    distance,
    require_close,
    trials,
)
from grulight.extras import extra
from grulight.keras_files.ported_network import PortedNetwork
from grulight.logits import probabilities
from grulight.model import GRUNet
from grulight.training.classifier import GRUClassifier

# oneDNN would reorder sums
BACKEND = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def write_keras(classifier: GRUClassifier, path: Path, lengths: bool, steps: int | None) -> Written:
    """Write a `.keras` file, open it with Keras, and prove its weights and its parts.

    Raises:
        InputError: Keras is missing, or the network cannot be told in its layers.
    """
    if lengths:
        raise InputError("a .keras file takes no lengths; choose .onnx or .pt2, or leave it out.")
    keras = _keras()
    plans = plans_of(classifier)
    dtype = str(next(classifier.network.parameters()).dtype).removeprefix("torch.")
    standard = _standardization(keras, classifier)
    shape = (steps, len(classifier.feature_names))
    _prove_in_float64(keras, classifier, plans, steps)
    _filled(_built(keras, plans, shape, dtype, standard), plans).save(path)
    opened = keras.models.load_model(path)
    _require_weights(opened, plans)
    counts = f"{len(opened.layers)} layers, {opened.count_params():,} parameters"
    return Written(
        lambda trial: _answer(keras, opened, trial.values), f"Keras {keras.__version__}", counts
    )


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


def _built(
    keras: ModuleType, plans: list[Plan], shape: tuple[int | None, int], dtype: str, first: Any
) -> Any:
    values = keras.Input(shape, dtype=dtype, name="values")
    x = values if first is None else first(values)
    for plan in plans:
        x = plan.make(keras, dtype)(x)
    return keras.Model(values, x)


def _filled(model: Any, plans: list[Plan]) -> Any:
    for layer, plan in zip(model.layers[-len(plans) :], plans, strict=True):
        layer.set_weights(plan.arrays)
    return model


def _require_weights(opened: Any, plans: list[Plan]) -> None:
    expected = [array for plan in plans for array in plan.arrays]
    found = opened.get_weights()
    same = len(found) == len(expected) and all(map(np.array_equal, found, expected))
    if not same:
        raise InputError("Keras does not give the weights back bit for bit; nothing was written.")


def _standardization(keras: ModuleType, classifier: GRUClassifier) -> Any:
    """Return the layer that standardises as the checkpoint does, bit for bit; None for none."""
    if classifier.mean is None or classifier.scale is None:
        return None
    mean, scale = classifier.mean.numpy(), classifier.scale.numpy()
    # the square of a float32 is a float64 exactly, and its root is that float32 again
    layer = keras.layers.Normalization(
        mean=mean.tolist(), variance=(scale.astype(np.float64) ** 2).tolist()
    )
    for values, _ in trials(len(mean), None, mean=mean, scale=scale):
        theirs = keras.ops.convert_to_numpy(layer(values))
        if distance((values - mean) / scale, theirs):
            raise InputError(
                "Keras' Normalization, which squares the scale, does not standardise bit for bit "
                "as this checkpoint does. Choose .onnx or .pt2."
            )
    return layer


def _prove_in_float64(
    keras: ModuleType, classifier: GRUClassifier, plans: list[Plan], steps: int | None
) -> None:
    """Check that the layers behind the standardisation compute the network's function.

    Normalization is not among them, because it keeps its variance in float32 in every precision.
    """
    network = classifier.network
    exact = copy.deepcopy(network).double()
    shape = (steps, len(classifier.feature_names))
    model = _filled(_built(keras, plans, shape, "float64", None), plans)
    zeros = isinstance(network, PortedNetwork)
    for values, _ in trials(shape[1], steps, zeros=zeros):
        ours = _network_answer(exact, values.astype(np.float64))
        bound = bound_of(distance(ours, _network_answer(network, values)), ours.dtype)
        require_close(distance(ours, _answer(keras, model, values.astype(np.float64))), bound)


def _network_answer(network: GRUNet | PortedNetwork, values: Array) -> Array:
    """Return a network's probabilities of standardised values."""
    with torch.no_grad():
        if isinstance(network, GRUNet):
            return probabilities(network(torch.from_numpy(values))).numpy()
        # the model itself, without the clipping that its logits have
        answer = network.model(torch.from_numpy(values))
        assert isinstance(answer, torch.Tensor)
        return _per_class(answer.numpy())


def _answer(keras: ModuleType, model: Any, values: Array) -> Array:
    return _per_class(keras.ops.convert_to_numpy(model(values, training=False)))


def _per_class(answer: Array) -> Array:
    """Return probabilities (batch, class); a single one is that of the second class."""
    return np.concatenate((1 - answer, answer), -1) if answer.shape[-1] == 1 else answer
