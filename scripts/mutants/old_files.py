"""Files that no Keras of today writes, byte by byte, by name."""

from collections.abc import Callable


def _keras_1() -> bytes:
    import kerasbytes as kb
    from test_keras_generations import KERAS_1_GRU

    settings = {
        **KERAS_1_GRU,
        "input_dim": 3,
        "batch_input_shape": [None, 6, 3],
        "return_sequences": True,
    }
    config = {"class_name": "Sequential", "config": [kb.layer("GRU", **settings)]}
    parts = kb.arrays(*[(3, 4), (4, 4), (4,)] * 3)
    names = [f"gru_{part}_{gate}:0" for gate in "zrh" for part in "WUb"]
    return kb.legacy(config, {"gru": list(zip(names, parts, strict=True))}, None)


def _cudnn() -> bytes:
    import kerasbytes as kb

    settings = {"name": "gru", "units": 4, "batch_input_shape": [None, 6, 3]}
    config = {"class_name": "Sequential", "config": [kb.layer("CuDNNGRU", **settings)]}
    names = ("gru/kernel:0", "gru/recurrent_kernel:0", "gru/bias:0")
    arrays = kb.gru_arrays(3, 4, "flat")
    return kb.legacy(config, {"gru": list(zip(names, arrays, strict=True))})


def _theano() -> bytes:
    import kerasbytes as kb
    from test_keras_generations import KERAS_1_GRU

    words = {"nb_filter": 2, "filter_length": 3, "border_mode": "valid", "subsample_length": 1}
    words |= {"name": "conv", "activation": "linear", "bias": True}
    conv = kb.layer("Convolution1D", batch_input_shape=[None, 6, 3], **words)
    config = {"class_name": "Sequential", "config": [conv, kb.layer("GRU", **KERAS_1_GRU)]}
    kernel, bias, *parts = kb.arrays((2, 3, 3, 1), (2,), *[(2, 4), (4, 4), (4,)] * 3)
    names = [f"gru_{part}_{gate}" for gate in "zrh" for part in "WUb"]  # Theano's, without :0
    gru = list(zip(names, parts, strict=True))
    weights = {"conv": [("conv_W", kernel), ("conv_b", bias)], "gru": gru}
    change = lambda file: file["model_weights"].attrs.pop("backend", None)  # noqa: E731
    return kb.legacy(config, weights, "1.2.2", change)


def _without_settings() -> bytes:
    import kerasbytes as kb

    config = kb.gru_config(batch_input_shape=[None, 6, 3])
    del config["recurrent_activation"], config["reset_after"]
    names = ("gru/kernel:0", "gru/recurrent_kernel:0", "gru/bias:0")
    weights = {"gru": list(zip(names, kb.gru_arrays(3, 4, "one row"), strict=True))}
    return kb.legacy({"class_name": "Sequential", "config": [kb.layer("GRU", **config)]}, weights)


BYTES: dict[str, Callable[[], bytes]] = {
    "gru of keras 1": _keras_1,
    "gru of cudnn": _cudnn,
    "convolution of theano": _theano,
    "gru without settings": _without_settings,
}
