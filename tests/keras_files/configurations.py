"""Configurations of Keras with every kind of layer, and random changes to their structure."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

Json = Any
Place = tuple[dict[str, Json] | list[Json], Any]  # a container, and a key or an index of it


def layer(kind: str, **settings: Json) -> dict[str, Json]:
    return {"class_name": kind, "config": {"trainable": True, **settings}}


def sequential(*layers: dict[str, Json], shape: tuple[int | None, ...] = (10, 5)) -> Json:
    start = layer("InputLayer", batch_shape=[None, *shape])
    return {"class_name": "Sequential", "config": {"layers": [start, *layers]}}


def tensor(name: str, call: int = 0, at: int = 0) -> Json:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call, at]}}


def functional(*nodes: tuple[dict[str, Json], list[Json]]) -> Json:
    """Return a model of layers "a", "b", ... that are called with these arguments."""
    start = {"name": "i", "inbound_nodes": [], **layer("InputLayer", batch_shape=[None, 10, 5])}
    layers = [start]
    for name, (entry, args) in zip("abcdefgh", nodes, strict=False):
        layers.append({"name": name, "inbound_nodes": [{"args": args, "kwargs": {}}], **entry})
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [[layers[-1]["name"], 0, 0]]}
    return {"class_name": "Functional", "config": {"layers": layers, **ends}}


def operation(kind: str, **settings: Json) -> dict[str, Json]:
    return {"module": "keras.src.ops.numpy", "class_name": kind, "config": settings}


I = tensor("i")  # noqa: E741 - the name of the input
GRU = layer("GRU", units=3, activation="tanh", recurrent_activation="sigmoid", reset_after=True)
SEQUENCES = [
    GRU,
    layer("GRU", units=2, dropout=0.1, return_sequences=True, activation="relu"),
    layer("LSTM", units=3, return_state=False, go_backwards=True),
    layer("SimpleRNN", units=3, recurrent_dropout=0.5),
    layer("Bidirectional", layer=GRU, merge_mode="concat"),
    layer("TimeDistributed", layer=layer("Dense", units=2, activation="softmax")),
    layer(
        "RNN",
        cell=layer(
            "StackedRNNCells", cells=[layer("GRUCell", units=2), layer("LSTMCell", units=3)]
        ),
    ),
    layer("Conv1D", filters=2, kernel_size=[3], strides=[1], padding="causal", dilation_rate=[2]),
    layer("DepthwiseConv1D", kernel_size=2, depth_multiplier=2, padding="same"),
    layer("SeparableConv1D", filters=2, kernel_size=2, padding="valid"),
    layer("MaxPooling1D", pool_size=[2], strides=[2], padding="valid"),
    layer("AveragePooling1D", pool_size=2, padding="same"),
    layer("GlobalAveragePooling1D", keepdims=True),
    layer("GlobalMaxPooling1D"),
    layer("ZeroPadding1D", padding=[1, 2]),
    layer("Cropping1D", cropping=[1, 2]),
    layer("UpSampling1D", size=2),
    layer("Conv1DTranspose", filters=2, kernel_size=[3], strides=[2], output_padding=[1]),
    layer("GroupNormalization", groups=5, axis=-1),
    layer("RMSNormalization", axis=[-1]),
    layer("Flatten", data_format="channels_last"),
    layer("Reshape", target_shape=[5, 10]),
    layer("Permute", dims=[2, 1]),
    layer("BatchNormalization", axis=-1, momentum=0.9, epsilon=0.001),
    layer("LayerNormalization", axis=[-1], epsilon=0.001),
    layer("UnitNormalization", axis=-1),
    layer("Normalization", axis=-1, mean=[0.0] * 5, variance=[1.0] * 5),
    layer("Dropout", rate=0.5, noise_shape=[None, 1, 5]),
    layer("SpatialDropout1D", rate=0.5),
    layer("GaussianNoise", stddev=0.1),
    layer("AlphaDropout", rate=0.1),
    layer("LeakyReLU", negative_slope=0.1),
    layer("ReLU", max_value=6.0, negative_slope=0.1, threshold=0.5),
    layer("ELU", alpha=1.0),
    layer("PReLU", shared_axes=[1]),
    layer("Softmax", axis=-1),
    layer("Rescaling", scale=0.5, offset=1.0),
    layer("Masking", mask_value=0.0),
    layer("Activation", activation="tanh"),
    layer("Identity"),
]
PICTURES = [
    layer("Conv2D", filters=2, kernel_size=[3, 2], strides=[1, 2], padding="same", groups=2),
    layer("Conv2DTranspose", filters=2, kernel_size=[3, 2], strides=[2, 2], padding="same"),
    layer("SeparableConv2D", filters=2, kernel_size=[3, 2], dilation_rate=[2, 1]),
    layer("DepthwiseConv2D", kernel_size=2, depth_multiplier=2, data_format="channels_first"),
    layer("MaxPooling2D", pool_size=[2, 3], strides=[1, 1], padding="same"),
    layer("GlobalAveragePooling2D", keepdims=True),
    layer("ZeroPadding2D", padding=[[1, 0], [2, 1]]),
    layer("Cropping2D", cropping=[[1, 0], [2, 1]]),
    layer("UpSampling2D", size=[2, 1], interpolation="nearest"),
    layer("AveragePooling2D", pool_size=[2, 1], padding="same"),
    layer("GlobalMaxPooling2D", data_format="channels_first"),
    layer("SpatialDropout2D", rate=0.5),
]
VOLUMES = [
    layer("Conv3D", filters=2, kernel_size=[3, 2, 1], strides=[1, 2, 1], padding="same"),
    layer("Conv3DTranspose", filters=2, kernel_size=[2, 2, 1], strides=[2, 1, 1]),
    layer("MaxPooling3D", pool_size=[2, 1, 2], strides=[1, 1, 1], padding="same"),
    layer("AveragePooling3D", pool_size=2, padding="valid"),
    layer("GlobalAveragePooling3D", keepdims=True),
    layer("GlobalMaxPooling3D"),
    layer("ZeroPadding3D", padding=[[1, 0], [2, 1], [0, 1]]),
    layer("Cropping3D", cropping=[[1, 0], [0, 1], [0, 1]]),
    layer("UpSampling3D", size=[2, 1, 2]),
    layer("SpatialDropout3D", rate=0.5),
]
SLICE = {"start": None, "stop": None, "step": -2}
OPERATIONS = [
    (operation("Add"), [I, 2.0]),
    (operation("Concatenate", axis=-1), [[I, I]]),
    (operation("GetItem"), [I, [{"class_name": "slice", "config": SLICE}, 0]]),
    (operation("Mean", axis=[1], keepdims=True), [I]),
    (operation("Split", indices_or_sections=5, axis=-1), [I]),
    (operation("Unstack", axis=1), [I]),
    (operation("Reshape", newshape=[-1, 50]), [I]),
    (operation("Transpose", axes=[0, 2, 1]), [I]),
    (operation("Tile", repeats=[1, 2, 1]), [I]),
    (operation("Repeat", repeats=2, axis=1), [I]),
    (operation("Take", axis=1), [I, [0, 1]]),
    (operation("Einsum", subscripts="btf,btg->bfg"), [I, I]),
    (operation("Clip", x_min=0.0, x_max=1.0), [I]),
    (operation("Cast", dtype="float32"), [I]),
    (operation("ExpandDims", axis=-1), [I]),
    (operation("Squeeze", axis=None), [I]),
    (layer("MultiHeadAttention", num_heads=2, key_dim=3, attention_axes=[1]), [I, I]),
    (layer("Dot", axes=[1, 1], normalize=True), [[I, I]]),
    (layer("Add"), [[I, I]]),
    (layer("Multiply"), [[I, I]]),
    (layer("Attention", use_scale=True, score_mode="dot", dropout=0.1), [[I, I]]),
    (layer("AdditiveAttention", use_scale=True), [[I, I, I]]),
]


def configurations() -> list[Json]:
    """Return models of all of them."""
    embedded = sequential(
        layer("Embedding", input_dim=7, output_dim=3, mask_zero=True), GRU, shape=(None,)
    )
    repeated = sequential(GRU, layer("RepeatVector", n=4), layer("Dense", units=2))
    nested = functional((sequential(GRU), [I]), (layer("Dense", units=2), [tensor("a")]))
    return [
        *(sequential(each) for each in SEQUENCES),
        *(sequential(each, shape=(9, 8, 2)) for each in PICTURES),
        *(sequential(each, shape=(5, 4, 3, 2)) for each in VOLUMES),
        *(functional(each) for each in OPERATIONS),
        *(embedded, repeated, nested, sequential(sequential(GRU), layer("Dense", units=2))),
    ]


def places(node: Json) -> Iterator[Place]:
    """Yield every place in a structure."""
    stack = [node]
    while stack:
        held = stack.pop()
        if isinstance(held, dict | list):
            keys = [*held] if isinstance(held, dict) else range(len(held))
            for key in keys:
                yield held, key
                stack.append(held[key])


ODD: list[Json] = [
    *(None, True, False, -1, 0, 1, 2, 3, 17, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 63, 10**400),
    *(-(10**400), 0.5, -0.5, 1e308, float("nan"), float("inf"), "", "x", "training", "_modules"),
    *("forward", "GRU", "softmax", "hard_sigmoid", "i", "a", "\x1b[2J\n", "\ud800", "x" * 10_000),
    *([], [None], [[]], [1], [1, 2], [-1, 1 << 31], [1] * 17, {}, {"a": 1}, {"class_name": "GRU"}),
    *({"class_name": "slice", "config": 5}, {"class_name": "__tuple__", "items": 3}, ["i", 0, 0]),
    *({"type": "ndarray", "value": [1]}, {"class_name": "function", "config": {}}, tensor("i", 1)),
]


def chosen(config: Json, rng: random.Random, kind: type = object) -> Place:
    """Return a place in a container of this kind, most often in a layer other than the input."""
    every = [each for each in places(config) if isinstance(each[0], kind)]
    inner = [
        each
        for entry in layers_of(config)
        for each in places(entry)
        if isinstance(each[0], kind) and each[1] not in ("trainable", "class_name")
    ]
    return rng.choice(inner if inner and rng.random() < 0.8 else every)


def layers_of(config: Json) -> list[Json]:
    match config:
        case {"config": {"layers": [_, *layers]}}:
            return layers
    return []


def replaced(config: Json, rng: random.Random) -> None:
    held, key = chosen(config, rng)
    held[key] = copy.deepcopy(rng.choice(ODD))


def dropped(config: Json, rng: random.Random) -> None:
    held, key = chosen(config, rng)
    del held[key]


def swapped(config: Json, rng: random.Random) -> None:
    (ours, at), (theirs, there) = chosen(config, rng), chosen(config, rng)
    ours[at], theirs[there] = copy.deepcopy((theirs[there], ours[at]))


def wrapped(config: Json, rng: random.Random) -> None:
    held, key = chosen(config, rng)
    held[key] = rng.choice(([held[key]], [held[key], held[key]], {"config": held[key]}))


def renamed(config: Json, rng: random.Random) -> None:
    held, key = chosen(config, rng, dict)
    held[rng.choice(("name", "axis", "config", "units", "layers", "axes", "trainable", "cell"))] = (
        held.pop(key)
    )


def repeated(config: Json, rng: random.Random) -> None:
    held, key = chosen(config, rng, list)
    held.insert(key, copy.deepcopy(held[key]))


CHANGES: tuple[Callable[[Json, random.Random], None], ...] = (
    *(replaced, replaced, replaced, dropped, swapped, wrapped, renamed, repeated),
)
CONFIGURATIONS = configurations()


def changed(seed: int) -> Json:
    """Return a configuration that was changed at random, once or a few times."""
    rng = random.Random(seed)
    config = copy.deepcopy(rng.choice(CONFIGURATIONS))
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        if not [each for each in places(config) if isinstance(each[0], list)]:
            break
        rng.choice(CHANGES)(config, rng)
    return config
