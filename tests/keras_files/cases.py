"""Named Keras models of every layer that can be ported, masked and unmasked."""

from casekit import (
    GRU_SETTINGS,
    OLD,
    SEQ,
    Case,
    both,
    dense,
    functional,
    gru,
    layer,
    masking,
    sequential,
)
from cases_attention import ATTENTION_CASES
from cases_functional import FUNCTIONAL_CASES
from cases_more import OTHER_CASES
from cases_spatial import SPATIAL_CASES

NEW_ACTIVATIONS = (  # in Keras 3 alone
    *("celu", "hard_shrink", "hard_silu", "log_sigmoid", "soft_shrink", "sparse_plus"),
    *("sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink"),
)
SEQUENTIAL_CASES = [
    *(
        Case(
            f"gru {name} {many}{masked}",
            sequential(*first, gru(**settings, **sequences), dense),
            mask=value,
        )
        for name, settings in GRU_SETTINGS.items()
        for many, sequences in (("last step", {}), ("every step", SEQ))
        for masked, first, value in (("", (), None), (" masked", (masking,), 0.5))
    ),
    *(
        Case(
            f"bidirectional {mode} {many}{masked}",
            sequential(*first, both(mode, **sequences)),
            mask=value,
        )
        for mode in ("concat", "sum", "mul", "ave")
        for many, sequences in (("last step", {}), ("every step", SEQ))
        for masked, first, value in (("", (), None), (" masked", (masking,), 0.5))
    ),
    Case("two hundred steps", sequential(gru(**SEQ), both(), shape=(None, 3)), {"x": (3, 200, 3)}),
    Case(
        "two hundred masked steps",
        sequential(masking, gru(**SEQ), both(**OLD), shape=(None, 3)),
        {"x": (4, 200, 3)},
        mask=0.5,
    ),
    Case(
        "bidirectional with another backward layer",
        sequential(
            masking,
            lambda k: k.Bidirectional(
                k.GRU(4, **SEQ),
                backward_layer=k.GRU(
                    4, activation="relu", return_sequences=True, go_backwards=True
                ),
            ),
            dense,
        ),
        mask=0.5,
    ),
    Case(
        "rnn of a cell",
        sequential(masking, lambda k: k.RNN(k.GRUCell(4, reset_after=False), **SEQ), dense),
        mask=0.5,
    ),
    Case(
        "mask through many layers",
        sequential(
            masking,
            lambda k: k.Dropout(0.2),
            lambda k: k.Dense(5),
            lambda k: k.TimeDistributed(k.Dense(4, activation="tanh")),
            lambda k: k.BatchNormalization(),
            lambda k: k.LayerNormalization(),
            lambda k: k.Activation("relu"),
            lambda k: k.SpatialDropout1D(0.1),
            both(**SEQ),
            lambda k: k.GRU(3),
            dense,
        ),
        mask=0.5,
    ),
    Case(
        "mask that conv1d drops",
        sequential(masking, lambda k: k.Conv1D(4, 3, activation="relu"), gru(), dense),
        mask=0.5,
    ),
    Case(
        "batch normalisation in training",
        sequential(lambda k: k.BatchNormalization(), gru(**SEQ), lambda k: k.BatchNormalization()),
        training=True,
    ),
    Case(
        "masked batch normalisation in training",
        sequential(masking, lambda k: k.BatchNormalization(scale=False), gru(), dense),
        mask=0.5,
        training=True,
    ),
    *(
        Case(
            f"conv1d {padding} {extra}",
            sequential(layer("Conv1D", 6, 4, padding=padding, **extra), gru()),
        )
        for padding in ("valid", "same", "causal")
        for extra in ({"strides": 2}, {"dilation_rate": 2}, {"groups": 3, "use_bias": False})
    ),
    *(
        Case(
            f"{kind} {padding} stride {stride}", sequential(layer(kind, 3, stride, padding), gru())
        )
        for kind in ("MaxPooling1D", "AveragePooling1D")
        for padding in ("valid", "same")
        for stride in (None, 2)
    ),
    Case(
        "pooled over all time",
        functional(
            lambda k, x: [
                k.GlobalAveragePooling1D()(k.GRU(4, **SEQ)(k.Masking(0.5)(x))),
                k.GlobalMaxPooling1D()(k.GRU(4, **SEQ)(k.Masking(0.5)(x))),
                k.GlobalAveragePooling1D(keepdims=True)(x),
                k.GlobalMaxPooling1D(keepdims=True)(x),
            ],
            x=(9, 3),
        ),
        {"x": (3, 9, 3)},
        mask=0.5,
    ),
    Case(
        "shapes changed",
        sequential(
            lambda k: k.Permute((2, 1)),
            lambda k: k.Reshape((-1, 3)),
            gru(),
            lambda k: k.RepeatVector(4),
            gru(**SEQ),
            lambda k: k.Flatten(),
            dense,
        ),
    ),
    *(
        Case(f"activation {name}", sequential(gru(**SEQ), layer("Dense", 3, activation=name)))
        for name in (
            "linear",
            "relu",
            "relu6",
            "sigmoid",
            "tanh",
            "softmax",
            "log_softmax",
            "softplus",
            "softsign",
            "elu",
            "selu",
            "exponential",
            "gelu",
            "silu",
            "mish",
            "leaky_relu",
            "hard_sigmoid",
            "hard_tanh",
            *NEW_ACTIVATIONS,
        )
    ),
    *(
        Case(f"layer {name}", sequential(gru(**SEQ), make))
        for name, make in {
            "ReLU": lambda k: k.ReLU(),
            "ReLU with all": lambda k: k.ReLU(0.75, 0.125, 0.25),
            "ReLU with slope": lambda k: k.ReLU(negative_slope=0.3),
            "LeakyReLU": lambda k: k.LeakyReLU(),
            "ELU": lambda k: k.ELU(0.75),
            "PReLU": lambda k: k.PReLU(),
            "PReLU shared": lambda k: k.PReLU(shared_axes=[1]),
            "Softmax": lambda k: k.Softmax(),
            "Softmax over time": lambda k: k.Softmax(axis=1),
            "LayerNormalization": lambda k: k.LayerNormalization(epsilon=1e-5, scale=False),
            "LayerNormalization over two axes": lambda k: k.LayerNormalization(axis=[1, 2]),
            "BatchNormalization over time": lambda k: k.BatchNormalization(axis=1, center=False),
        }.items()
    ),
]

CASES = [*SEQUENTIAL_CASES, *FUNCTIONAL_CASES, *OTHER_CASES, *ATTENTION_CASES, *SPATIAL_CASES]
