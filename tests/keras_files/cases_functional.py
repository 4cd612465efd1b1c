"""Named Keras models with several inputs or outputs, states, given masks, and models inside."""

from typing import Any

from casekit import SEQ, Case, Layers, both, functional, masking

FUNCTIONAL_CASES = [
    Case(
        "embedding masked",
        functional(
            lambda k, ids: k.Dense(2)(
                k.GRU(4)(k.Bidirectional(k.GRU(4, **SEQ))(k.Embedding(9, 3, mask_zero=True)(ids)))
            ),
            ids=(None,),
        ),
        {},
        {"ids": (5, 9)},
    ),
    Case(
        "embedding unmasked",
        functional(lambda k, ids: k.GRU(4)(k.Embedding(9, 3)(ids)), ids=(9,)),
        {},
        {"ids": (5, 9)},
    ),
    Case(
        "average of three",
        functional(
            lambda k, x, y, z: k.GRU(3)(k.Average()([x, y, z])), x=(9, 3), y=(9, 3), z=(9, 3)
        ),
        dict.fromkeys("xyz", (5, 9, 3)),
    ),
    Case(
        "state in and out",
        functional(
            lambda k, x, h: k.GRU(4, **SEQ, return_state=True)(x, initial_state=h), x=(9, 3), h=(4,)
        ),
        {"x": (5, 9, 3), "h": (5, 4)},
    ),
    Case(
        "state in and out masked backwards",
        functional(
            lambda k, x, h: k.GRU(
                4, **SEQ, return_state=True, go_backwards=True, reset_after=False
            )(k.Masking(0.5)(x), initial_state=h),
            x=(9, 3),
            h=(4,),
        ),
        {"x": (5, 9, 3), "h": (5, 4)},
        mask=0.5,
    ),
    Case(
        "last step of a masked row keeps zero and the state",
        functional(
            lambda k, x, h: k.GRU(4, return_state=True)(k.Masking(0.5)(x), initial_state=h),
            x=(9, 3),
            h=(4,),
        ),
        {"x": (5, 9, 3), "h": (5, 4)},
        mask=0.5,
    ),
    Case(
        "bidirectional states in and out",
        functional(
            lambda k, x, h, g: k.Bidirectional(
                k.GRU(4, return_state=True, **SEQ), merge_mode="mul"
            )(k.Masking(0.5)(x), initial_state=[h, g]),
            x=(9, 3),
            h=(4,),
            g=(4,),
        ),
        {"x": (5, 9, 3), "h": (5, 4), "g": (5, 4)},
        mask=0.5,
    ),
    Case(
        "bidirectional unmerged",
        functional(lambda k, x: k.Bidirectional(k.GRU(4), merge_mode=None)(x), x=(9, 3)),
    ),
    Case(
        "encoder and decoder",
        functional(
            lambda k, x, y: k.TimeDistributed(k.Dense(3))(
                k.GRU(4, **SEQ)(y, initial_state=k.GRU(4, return_state=True)(x)[1])
            ),
            x=(9, 3),
            y=(6, 2),
        ),
        {"x": (5, 9, 3), "y": (5, 6, 2)},
    ),
    Case(
        "mask given by name",
        functional(lambda k, x, mask: k.GRU(4)(k.GRU(4, **SEQ)(x, mask=mask)), x=(9, 3), mask=(9,)),
        bools={"mask": (5, 9)},
    ),
    Case(
        "masks merged",
        functional(
            lambda k, x, ids: [
                k.GRU(4)(merge([masking(k)(x), k.Embedding(9, 3, mask_zero=True)(ids)]))
                for merge in (k.Add(), k.Multiply(), k.Average(), k.Concatenate())
            ],
            x=(9, 3),
            ids=(9,),
        ),
        {"x": (5, 9, 3)},
        {"ids": (5, 9)},
        mask=0.5,
    ),
    Case(
        "masked beside unmasked",
        functional(
            lambda k, x: [
                k.GRU(4)(k.Concatenate()([k.Masking(0.5)(x), x])),
                k.GRU(4)(k.Concatenate(axis=1)([k.Masking(0.5)(x), x])),
                k.GRU(4)(k.Multiply()([k.Masking(0.5)(x), x])),
                k.GRU(4)(k.Subtract()([k.Masking(0.5)(x), x])),
            ],
            x=(9, 3),
        ),
        mask=0.5,
    ),
    Case(
        "sum written as an operator",
        functional(lambda k, x: k.Dense(2)(k.GRU(3, **SEQ)(x) + x), x=(9, 3)),
    ),
    Case(
        "layer called twice",
        functional(
            lambda k, x, y: (lambda g: k.Concatenate()([g(x), g(y)]))(k.GRU(4)), x=(9, 3), y=(7, 3)
        ),
        {"x": (5, 9, 3), "y": (5, 7, 3)},
    ),
]


def nested(k: Layers) -> Any:
    inner = k.Sequential(
        [k.Input((9, 3)), k.BatchNormalization(), masking(k), both(**SEQ)(k), k.Dense(3)],
        name="inner",
    )
    x, y = k.Input((9, 3), name="x"), k.Input((9, 3), name="y")
    deep = k.Model(x, k.GRU(4)(inner(x)), name="deep")
    return k.Model([x, y], k.Dense(2)(k.Add()([deep(x), deep(y)])))


def sentences(k: Layers) -> Any:
    word = k.Sequential(
        [k.Input((6,), dtype="int32"), k.Embedding(9, 3, mask_zero=True), k.GRU(4)], name="word"
    )
    ids = k.Input((5, 6), dtype="int32", name="ids")
    return k.Model(ids, k.Dense(2)(k.GRU(3)(k.TimeDistributed(word)(ids))))


FUNCTIONAL_CASES += [
    Case("models in a model", nested, {"x": (5, 9, 3), "y": (5, 9, 3)}, mask=0.5),
    Case("time distributed model", sentences, {}, {"ids": (4, 5, 6)}),
]
