"""Layer settings of Keras 1 and 2 in the words of current Keras; defaults that depend on age."""

from collections.abc import Mapping

from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.reader.versions import KerasVersion

KINDS = {  # class names that changed
    "Model": "Functional",
    "Container": "Functional",
    "Convolution1D": "Conv1D",
    "TimeDistributedDense": "Dense",
    "BatchNormalizationV1": "BatchNormalization",  # TensorFlow 1.13 to 2.0
    "BatchNormalizationV2": "BatchNormalization",
    "UnifiedGRU": "GRU",
    "UnifiedLSTM": "LSTM",
}

# Keras 1 named settings otherwise (keras/legacy/interfaces.py of Keras 2).
KERAS_1_WORDS = {
    "GRU": {
        "output_dim": "units",
        "inner_activation": "recurrent_activation",
        "dropout_W": "dropout",
        "dropout_U": "recurrent_dropout",
    },
    "Dense": {"output_dim": "units", "bias": "use_bias"},
    "Conv1D": {
        "nb_filter": "filters",
        "filter_length": "kernel_size",
        "border_mode": "padding",
        "subsample_length": "strides",
        "bias": "use_bias",
        "atrous_rate": "dilation_rate",
    },
    "MaxPooling1D": {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"},
    "Dropout": {"p": "rate"},
    "SpatialDropout1D": {"p": "rate"},
    "Merge": {"concat_axis": "axis"},
}
KERAS_1_WORDS["LSTM"] = KERAS_1_WORDS["SimpleRNN"] = KERAS_1_WORDS["GRU"]
KERAS_1_WORDS["AveragePooling1D"] = KERAS_1_WORDS["MaxPooling1D"]

MERGE_MODES = {"concat": "Concatenate", "sum": "Add", "mul": "Multiply", "ave": "Average"}


def translate(
    kind: str, config: Mapping[str, Json], version: KerasVersion
) -> tuple[str, dict[str, Json]]:
    """Return the class and the settings of a layer in the words of current Keras."""
    kind = KINDS.get(kind, kind)
    words = KERAS_1_WORDS.get(kind, {}) if version.major == 1 else {}
    settings = {words.get(key, key): value for key, value in config.items()}
    if kind == "Merge" and isinstance(mode := config.get("mode"), str):
        kind = MERGE_MODES.get(mode, kind)
    if kind in ("CuDNNGRU", "CuDNNLSTM"):
        kind = kind.removeprefix("CuDNN")
        settings |= {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
        settings |= {"reset_after": True} if kind == "GRU" else {}
    return kind, {**_defaults(kind, version), **settings}


def _defaults(kind: str, version: KerasVersion) -> dict[str, Json]:
    """Return what a file leaves out because it is older than the setting."""
    current = version.major >= 3
    if kind.removesuffix("Cell") in ("GRU", "LSTM"):
        gates = {"recurrent_activation": "sigmoid" if current else "hard_sigmoid"}
        # since Keras 2.1.3 every file of a GRU has it, so without it: False
        reset = {"reset_after": current} if kind.startswith("GRU") else {}
        return {"activation": "tanh", **gates, **reset}
    if kind in ("SimpleRNN", "SimpleRNNCell"):
        return {"activation": "tanh"}
    if kind == "Activation":
        return {"activation": "linear"}
    return {}
