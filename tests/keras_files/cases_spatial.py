"""Named Keras models with rows and columns, transposed convolutions, and other normalisations."""

from typing import Any

from casekit import SEQ, Case, Layers, functional, gru, layer, masking, sequential

FRAMES = {"x": (2, 4, 8, 7, 2)}
PICTURE = {"x": (3, 9, 8, 2)}


def frames(*make: Any) -> Any:
    """Return a builder of layers for each frame, in front of a GRU."""
    each = [lambda k, one=one: k.TimeDistributed(one(k)) for one in make]
    return sequential(*each, gru(**SEQ), layer("Dense", 2), shape=(4, 8, 7, 2))


def convolved(k: Layers) -> Any:
    """Return a model of one frame."""
    return k.Sequential(
        [
            k.Input((8, 7, 2)),
            k.Conv2D(3, (3, 2), padding="same", activation="relu"),
            k.BatchNormalization(),
            k.MaxPooling2D(2),
            k.SpatialDropout2D(0.2),
            k.DepthwiseConv2D(2, depth_multiplier=2),
            k.Flatten(),
            k.Dense(4),
        ],
        name="frame",
    )


def several(*settings: dict[str, Any], kind: str, **shapes: tuple[int, ...]) -> Any:
    """Return a builder of one layer after the other on the same input."""
    return functional(
        lambda k, x: [getattr(k, kind)(**{"filters": 4, **each})(x) for each in settings], **shapes
    )


SPATIAL_CASES = [
    Case("frames of a model in front of a gru", frames(convolved), FRAMES),
    Case(
        "frames layer by layer in front of a gru",
        frames(
            layer("Conv2D", 3, 3, strides=(2, 1), padding="same", activation="relu"),
            layer("AveragePooling2D", 2, padding="same"),
            layer("GlobalAveragePooling2D"),
        ),
        FRAMES,
    ),
    Case(
        "pictures read row by row",
        sequential(
            layer("ZeroPadding2D", ((1, 2), (0, 1))),
            layer("SeparableConv2D", 5, (3, 2), depth_multiplier=2, activation="tanh"),
            layer("UpSampling2D", (1, 2)),
            layer("Cropping2D", ((1, 0), (2, 1))),
            layer("MaxPooling2D", (2, 3), strides=(1, 2), padding="same"),
            layer("Permute", (2, 1, 3)),
            layer("Reshape", (7, -1)),
            gru(),
            shape=(9, 8, 2),
        ),
        PICTURE,
    ),
    Case(
        "pictures whole",
        functional(
            lambda k, x: [
                k.GlobalMaxPooling2D()(x),
                k.GlobalAveragePooling2D(keepdims=True)(x),
                k.Conv2D(2, 3, dilation_rate=(2, 1), use_bias=False)(x),
                k.GRU(2)(k.Reshape((9, -1))(k.PReLU(shared_axes=[1, 2])(x))),
            ],
            x=(9, 8, 2),
        ),
        PICTURE,
    ),
    Case(
        "conv1d transposed",
        several(
            {"kernel_size": 3, "strides": 2},
            {"kernel_size": 4, "strides": 3, "padding": "same", "activation": "relu"},
            {"kernel_size": 2, "strides": 3, "use_bias": False},
            {"kernel_size": 5, "strides": 3, "padding": "same", "output_padding": 1},
            {"kernel_size": 4, "strides": 3, "output_padding": 2},
            {"kernel_size": 3, "padding": "same"},
            kind="Conv1DTranspose",
            x=(9, 3),
        ),
    ),
    Case(
        "conv2d transposed",
        several(
            {"kernel_size": (3, 4), "strides": (2, 3)},
            {"kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1},
            {"kernel_size": 4, "strides": 2, "padding": "same", "activation": "tanh"},
            kind="Conv2DTranspose",
            x=(9, 8, 2),
        ),
        PICTURE,
    ),
    Case(
        "volumes",
        sequential(
            layer("ZeroPadding3D", 1),
            layer("Conv3D", 3, (2, 3, 2), padding="same", activation="relu"),
            layer("Cropping3D", ((1, 0), (0, 1), (1, 1))),
            layer("UpSampling3D", (1, 2, 1)),
            layer("Conv3DTranspose", 2, 2),
            layer("GlobalAveragePooling3D", keepdims=True),
            layer("GlobalMaxPooling3D"),
            shape=(4, 6, 7, 2),
        ),
        {"x": (2, 4, 6, 7, 2)},
    ),
    Case(
        "features before time",
        functional(
            lambda k, x: [
                k.GRU(2)(k.MaxPooling1D(2, data_format="channels_first")(x)),
                k.GlobalAveragePooling1D(data_format="channels_first")(k.Masking(0.5)(x)),
                k.GlobalMaxPooling1D(data_format="channels_first", keepdims=True)(x),
                k.Flatten(data_format="channels_first")(x),
            ],
            x=(9, 9),
        ),
        {"x": (3, 9, 9)},
        mask=0.5,
    ),
    Case(
        "features before rows",
        functional(
            lambda k, x: [
                k.GRU(2)(k.Reshape((2, -1))(k.MaxPooling2D(2, padding="same", **FIRST)(x))),
                k.AveragePooling2D(2, **FIRST)(x),
                k.GlobalAveragePooling2D(**FIRST)(x),
                k.ZeroPadding2D((1, 2), **FIRST)(x),
                k.UpSampling2D(2, **FIRST)(x),
                k.BatchNormalization(axis=1)(x),
                k.Flatten(**FIRST)(x),
            ],
            x=(2, 5, 6),
        ),
        {"x": (3, 2, 5, 6)},
    ),
    Case(
        "normalised in groups",
        functional(
            lambda k, x: [
                k.GRU(3)(k.GroupNormalization(3)(x)),
                k.GroupNormalization(1, epsilon=1e-5, center=False)(x),
                k.GroupNormalization(-1, scale=False)(x),
                k.GroupNormalization(3, axis=1)(x),
            ],
            x=(9, 6),
        ),
        {"x": (5, 9, 6)},
    ),
    Case(
        "normalised in groups masked",
        sequential(masking, layer("GroupNormalization", 3), gru(), shape=(9, 6)),
        {"x": (5, 9, 6)},
        mask=0.5,
    ),
    Case(
        "normalised over axes in another order",
        functional(lambda k, x: k.LayerNormalization(axis=(2, 1), epsilon=1e-6)(x), x=(9, 6)),
        {"x": (5, 9, 6)},
    ),
    Case(
        "normalised by root mean squares",
        functional(
            lambda k, x: [
                k.GRU(3)(k.RMSNormalization()(k.Masking(0.5)(x))),
                k.RMSNormalization(axis=(1, 2), epsilon=1e-3)(x),
                k.LayerNormalization(rms_scaling=True)(x),
            ],
            x=(9, 6),
        ),
        {"x": (5, 9, 6)},
        mask=0.5,
    ),
]
FIRST = {"data_format": "channels_first"}
