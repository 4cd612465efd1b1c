"""Keras' side: builds a model, saves it in every format, and says what it computes in float64."""

import os
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # rewrites that change the order of sums

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, on import
    import keras
    import tensorflow as tf

Array = NDArray[Any]


class Flavour:
    """A Keras: its layers and models under one name, as the cases want them."""

    def __init__(
        self, name: str, prepare: Callable[[ModuleType], None] = lambda found: None
    ) -> None:
        self._name, self._prepare = name, prepare

    @cached_property
    def module(self) -> ModuleType:
        """The Keras itself, imported when a test first asks it."""
        found = quietly(import_module, self._name)
        self._prepare(found)
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # pytest's, who asks for one's name
            raise AttributeError(name)
        return getattr(self.module.layers, name, None) or getattr(self.module, name)

    def fresh(self, floatx: str) -> "Flavour":
        """Return it with names counted anew."""
        newest = {"free_memory": False} if self.module is keras else {}
        self.module.backend.clear_session(**newest)
        self.module.backend.set_floatx(floatx)
        return self


KERAS_3 = Flavour("keras")


def keras_2() -> Flavour:
    """Return tf_keras, which still writes what Keras 2 wrote."""
    return Flavour("tf_keras", _without_cudnn)


def _without_cudnn(found: ModuleType) -> None:
    """Build no layer as cuDNN computes it beside what a CPU does: that takes ten times as long."""
    gru, lstm = (
        import_module(f"{found.__name__}.src.layers.rnn.{name}") for name in ("gru", "lstm")
    )
    gru.gru_with_backend_selection = gru.standard_gru
    lstm.lstm_with_backend_selection = lstm.standard_lstm


Build = Callable[[Flavour], Any]  # to a model


def quietly(function: Callable[..., Any], *args: object) -> Any:
    """Call without Keras' warnings, such as that a mask ends at some layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)


def built(build: Build, seed: int, flavour: Flavour = KERAS_3) -> Any:
    """Return a float32 model with random weights, biases and moving statistics."""
    model = quietly(build, flavour.fresh("float32"))
    rng = np.random.default_rng(seed)
    values = []
    for variable in model.weights:
        value = rng.normal(0, 0.4, variable.shape)
        values.append(np.abs(value) + 0.5 if "variance" in variable.name else value)
    model.set_weights(values)
    return model


def in_float64(build: Build, model: Any, flavour: Flavour = KERAS_3) -> Any:
    """Return the same model in float64."""
    double = quietly(build, flavour.fresh("float64"))
    flavour.module.backend.set_floatx("float32")
    double.set_weights(model.get_weights())
    return double


def computed(
    model: Any,
    inputs: Mapping[str, Array],
    cotangent_seed: int,
    training: bool = False,
) -> dict[str, Array]:
    """Return outputs and gradients by name, the gradients from random cotangents."""
    tensors = {name: tf.constant(array) for name, array in inputs.items()}
    watched = {name: each for name, each in tensors.items() if each.dtype.is_floating}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras on masks that end at some layer
        with tf.GradientTape() as tape:
            tape.watch(list(watched.values()))
            fed = list(tensors.values())
            outputs = model(fed if len(fed) > 1 else fed[0], training=training)
            outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            rng = np.random.default_rng(cotangent_seed)
            total = sum(tf.reduce_sum(y * rng.normal(size=y.shape)) for y in outputs)
    named = {**{f"input {name}": each for name, each in watched.items()}}
    held = {name: getattr(v, "_value", v) for name, v in variables(model).items()}  # tf.Variable
    named |= {f"weight {name}": variable for name, variable in held.items()}
    gradients = tape.gradient(total, named, unconnected_gradients="zero")
    found = {name: tf.convert_to_tensor(g).numpy() for name, g in gradients.items()}
    return found | {f"output {at}": y.numpy() for at, y in enumerate(outputs)}


HEADS = {"query": "query", "key": "key", "value": "value", "attention_output": "output"}


def variables(layer: Any, prefix: str = "") -> dict[str, Any]:
    """Return the trainable variables of a model by path of layer names."""
    inner = [name for name in ("forward_layer", "backward_layer", "cell") if hasattr(layer, name)]
    cells = getattr(getattr(layer, "cell", None), "cells", None)
    if cells is not None:
        parts = {f"cell_{at}/": cell for at, cell in enumerate(cells)}
    elif type(layer).__name__ == "MultiHeadAttention":
        parts = {f"{name}/": getattr(layer, f"_{part}_dense") for name, part in HEADS.items()}
    elif hasattr(layer, "layers"):
        parts = {f"{each.name}/": each for each in layer.layers}
    elif type(layer).__name__ == "TimeDistributed":
        parts = {"": layer.layer}
    elif inner:
        parts = {"" if name == "cell" else f"{name}/": getattr(layer, name) for name in inner}
    else:
        return {prefix + short(each.name): each for each in layer.trainable_variables}
    found: dict[str, Any] = {}
    for name, part in parts.items():
        found |= variables(part, prefix + name)
    return found


def short(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def saved(model: Any, folder: Path) -> dict[str, tuple[Path, str | None]]:
    """Save in every format; returns path and, for weights alone, the configuration."""
    paths = {end: folder / f"model.{end}" for end in ("keras", "h5", "weights.h5")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # HDF5 is called legacy
        model.save(paths["keras"])
        model.save(paths["h5"])
        model.save_weights(paths["weights.h5"])
        if type(model).__module__.startswith("tf_keras"):
            paths |= {"directory": folder / "directory", "weights": folder / "weights"}
            # tracing takes a minute and writes nothing but the graph, which nobody reads
            model.save(paths["directory"], save_format="tf", save_traces=False)
            model.save_weights(paths["weights"], save_format="tf")
    config = folder / "config.json"
    config.write_text(model.to_json())
    return {end: (path, str(config) if "weights" in end else None) for end, path in paths.items()}
