"""TensorFlow.js layers models: `model.json`, and the bytes of the weights in shards beside it.

Layout: tfjs-core/src/io/types.ts (ModelJSON), tfjs-layers/src/models.ts, and the converter's
write_weights.py. A graph model is code for TensorFlow.js' own executor, and refused.
"""

from dataclasses import dataclass

from grulight.errors import InputError
from grulight.keras_files.reader.folders import Folder
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.tensorflow_js_arrays import arrays_of, quantised_words
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.reader.weight_groups import NamedWeights, NativeWeights, native_names

MODEL = "model.json"
TOP = "layers/"
OPTIMIZER_WORDS = {
    **{"learningRate": "learning_rate", "beta1": "beta_1", "beta2": "beta_2"},
    **{"decay": "rho", "useNesterov": "nesterov"},
}


@dataclass(frozen=True)
class TensorFlowJs:
    """What a TensorFlow.js model holds.

    Attributes:
        config: The model's configuration; None where it holds weights alone.
        version: What it says of the Keras that wrote it.
        weights: The arrays, not read yet.
        training: What it was compiled with.
        ignored: What else it holds, in words.
    """

    config: dict[str, Json] | None
    version: Json
    weights: NamedWeights | NativeWeights
    training: Json
    ignored: tuple[str, ...]


def is_tensorflow_js(model: dict[str, Json]) -> bool:
    """Return whether JSON is that of a model of TensorFlow.js, of either kind."""
    return "modelTopology" in model or "weightsManifest" in model


def read_tensorflow_js(model: dict[str, Json], folder: Folder) -> TensorFlowJs:
    """Read a layers model; its arrays are decoded when they are asked for.

    Args:
        model: What `model.json` holds.
        folder: Where the shards lie.

    Raises:
        InputError: It is a graph model, damaged, or refused.
    """
    topology = model.get("modelTopology")
    topology = topology if isinstance(topology, dict) else {}
    if model.get("format") == "graph-model" or {"node", "library"} & topology.keys():
        raise InputError(
            "a graph model of TensorFlow.js, which is code without its layers. Convert the Keras "
            "model again with --output_format tfjs_layers_model, or port that Keras model."
        )
    config = topology.get("model_config", topology if "class_name" in topology else None)
    if config is not None and not isinstance(config, dict):
        raise InputError(f"modelTopology holds {quote(config)}, expected a model's configuration.")
    arrays, optimizer = arrays_of(model.get("weightsManifest"), folder)
    weights, optimizer = _weights(arrays, optimizer)
    ignored = ["optimizer state"] if optimizer else []
    return TensorFlowJs(
        config,
        topology.get("keras_version") or (config or {}).get("keras_version"),
        weights,
        topology.get("training_config") or _in_keras_words(model.get("trainingConfig")),
        (*ignored, *quantised_words(arrays)),
    )


def _weights(
    arrays: dict[str, Stored], optimizer: bool
) -> tuple[NamedWeights | NativeWeights, bool]:
    """Return the arrays by their names, and whether optimiser state was left out.

    Those of Keras 3's `.keras` files have paths for names that end in numbers, and the
    optimiser's among them.
    """
    if not arrays or not all(name.rpartition("/")[2].isdigit() for name in arrays):
        return NamedWeights(arrays), optimizer
    whole = any(name.startswith(TOP) for name in arrays)
    kept = {name: each for name, each in arrays.items() if not whole or name.startswith(TOP)}
    native = {_native(name.removeprefix(TOP)): stored for name, stored in kept.items()}
    return native_names(native), optimizer or len(kept) < len(arrays)


def _native(path: str) -> str:
    """Return where a native file keeps an array."""
    *groups, number = path.split("/")
    return "/".join([*groups, *([] if groups[-1:] == ["vars"] else ["vars"]), number])


def _in_keras_words(training: Json) -> Json:
    """Return what TensorFlow.js notes of `compile`, the optimiser's settings in Keras' words."""
    match training:
        case {"optimizer_config": {"config": dict(settings)} as optimizer}:
            named = {OPTIMIZER_WORDS.get(key, key): value for key, value in settings.items()}
            return {**training, "optimizer_config": {**optimizer, "config": named}}
    return training
