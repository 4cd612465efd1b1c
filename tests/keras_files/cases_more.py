"""Named Keras models of what GRUs are mixed with: other recurrent layers, attention, operations."""

from typing import Any

from casekit import BACK, SEQ, Case, Layers, functional, gru, layer, masking, sequential

TWO = {"x": (5, 9, 3), "y": (5, 6, 3)}


def attended(kind: str, **settings: object) -> Any:
    """Return a builder of attention from one sequence to another, both masked."""

    def build(k: Layers, x: Any, y: Any) -> Any:
        query, value = k.GRU(4, **SEQ)(k.Masking(0.5)(x)), k.GRU(4, **SEQ)(k.Masking(0.5)(y))
        return k.GRU(3)(getattr(k, kind)(**settings)([query, value]))

    return functional(build, x=(9, 3), y=(6, 3))


def stacked(k: Layers, *kinds: str) -> Any:
    return k.RNN([getattr(k, kind)(4 + at) for at, kind in enumerate(kinds)], **SEQ)


OTHER_CASES = [
    *(
        Case(f"{kind} {name}", sequential(masking, layer(kind, 4, **settings), gru()), mask=0.5)
        for kind in ("LSTM", "SimpleRNN")
        for name, settings in {
            "every step masked": SEQ,
            "no bias backwards masked": {**SEQ, **BACK, "use_bias": False},
            "relu masked": {**SEQ, "activation": "relu"},
        }.items()
    ),
    Case(
        "lstm state in and out",
        functional(
            lambda k, x, h, g: k.LSTM(4, return_state=True, recurrent_activation="hard_sigmoid")(
                k.Masking(0.5)(x), initial_state=[h, g]
            ),
            x=(9, 3),
            h=(4,),
            g=(4,),
        ),
        {"x": (5, 9, 3), "h": (5, 4), "g": (5, 4)},
        mask=0.5,
    ),
    Case(
        "bidirectional lstm and simple rnn",
        sequential(
            masking,
            lambda k: k.Bidirectional(k.LSTM(4, **SEQ), merge_mode="sum"),
            lambda k: k.Bidirectional(k.SimpleRNN(4)),
        ),
        mask=0.5,
    ),
    Case(
        "stacked cells",
        sequential(masking, lambda k: stacked(k, "GRUCell", "LSTMCell", "GRUCell"), gru()),
        mask=0.5,
    ),
    Case("one other cell", sequential(lambda k: k.RNN(k.LSTMCell(4), **BACK))),
    *(
        Case(
            f"stacked cells with states {end}",
            functional(
                lambda k, x, end=end: k.RNN([k.GRUCell(4), k.GRUCell(3)], return_state=True)(
                    k.Masking(0.5)(x)
                )[end],
                x=(9, 3),
            ),
            mask=0.5,
        )
        for end in range(3)
    ),
    *(
        Case(f"{kind} {settings}", attended(kind, **settings), TWO, mask=0.5)
        for kind, settings in (
            ("Attention", {}),
            ("AdditiveAttention", {}),
            ("AdditiveAttention", {"use_scale": False}),
        )
    ),
    Case(
        "attention to itself with a key",
        functional(
            lambda k, x: [
                k.Attention(use_scale=True)([k.GRU(4, **SEQ)(x), x, k.GRU(4, **SEQ)(x)]),
                k.Attention(use_scale=True, score_mode="concat")([k.GRU(3, **SEQ)(x), x]),
            ],
            x=(9, 3),
        ),
    ),
    Case("first feature", functional(lambda k, x: k.GRU(4, **SEQ)(x)[..., 0], x=(9, 3))),
    Case(
        "extremes of masked sequences",
        functional(
            lambda k, x, y: [
                k.GRU(4)(merge([k.Masking(0.5)(x), k.Masking(0.5)(y)]))
                for merge in (k.Maximum(), k.Minimum())
            ],
            x=(9, 3),
            y=(9, 3),
        ),
        {"x": (5, 9, 3), "y": (5, 9, 3)},
        mask=0.5,
    ),
    Case(
        "dot products",
        functional(
            lambda k, x, y: [
                k.Dot(axes=2)([x, y]),
                k.Dot(axes=(1, 1))([x, k.Cropping1D((2, 1))(k.UpSampling1D(2)(y))]),
                k.Dot(axes=-1, normalize=True)([k.GRU(4)(x), k.GRU(4)(y)]),
                k.Dot(axes=(1, 2))([k.GRU(3)(x), y]),
            ],
            x=(9, 3),
            y=(6, 3),
        ),
        TWO,
    ),
    Case(
        "ends of time",
        sequential(
            lambda k: k.ZeroPadding1D((1, 2)),
            lambda k: k.UpSampling1D(2),
            lambda k: k.Cropping1D(3),
            lambda k: k.UnitNormalization(),
            lambda k: k.Rescaling(0.5, 1.5),
            gru(),
        ),
    ),
    *(
        Case(
            f"{kind} {settings}",
            sequential(layer(kind, *filters, 3, activation="relu", **settings), gru()),
        )
        for kind, filters in (("SeparableConv1D", (5,)), ("DepthwiseConv1D", ()))
        for settings in (
            {"padding": "same", "depth_multiplier": 2},
            {"strides": 2, "use_bias": False},
        )
    ),
    Case(
        "layers as activations",
        sequential(
            lambda k: k.Dense(5, activation=k.LeakyReLU(0.125)),
            lambda k: k.Identity(),
            lambda k: k.Dense(4, activation=k.ELU(0.5)),
            lambda k: k.GRU(3, activation=k.ReLU(max_value=1.5)),
        ),
    ),
    Case(
        "noise at rest",
        sequential(
            masking,
            lambda k: k.GaussianNoise(0.1),
            lambda k: k.GaussianDropout(0.1),
            lambda k: k.AlphaDropout(0.1),
            lambda k: k.ActivityRegularization(0.1),
            lambda k: k.Dropout(0.5, noise_shape=(None, 1, 3)),
            gru(),
        ),
        mask=0.5,
    ),
    Case(
        "layers called as in inference",
        functional(
            lambda k, x: k.BatchNormalization()(
                k.GRU(4, dropout=0.5)(k.Dropout(0.5)(x, training=False), training=False),
                training=False,
            ),
            x=(9, 3),
        ),
        training=True,
    ),
    Case(
        "layers called as in training",
        functional(lambda k, x: k.BatchNormalization()(k.GRU(4)(x), training=True), x=(9, 3)),
    ),
    Case(
        "parts of tensors",
        functional(
            lambda k, x: (
                lambda g: [
                    g[:, -1],
                    g[:, -1, :],
                    g[:, :, 1:3],
                    g[:, None],
                    g[:, 1::2],
                    g[:, ::-1],
                    k.GRU(2)(g[:, 2:-1]),
                ]
            )(k.GRU(4, **SEQ)(x)),
            x=(9, 3),
        ),
    ),
    Case(
        "arithmetic of tensors",
        functional(
            lambda k, x: (
                lambda g: [g + 1.0, g * g, 1 - g, g / 2.0, -g, (g + 3.0) ** 2, 0.25 * g, x - g]
            )(k.GRU(3, **SEQ)(x)),
            x=(9, 3),
        ),
    ),
    Case(
        "attention written by hand",
        functional(
            lambda k, x: (
                lambda g, s: [k.Flatten()(k.Dot(axes=(1, 1))([g, k.Softmax(axis=1)(s)])), g * s]
            )(k.GRU(4, **SEQ)(x), k.Dense(1, activation="tanh")(x)),
            x=(9, 3),
        ),
    ),
]
