"""Named Keras models with attention of several heads, and attention as real files call it."""

from typing import Any

from casekit import SEQ, Case, Layers, functional

TWO = {"x": (5, 9, 3), "y": (5, 6, 3)}
# Softmax does not see what is added to all scores of a query.
UNSEEN = {"zeros": ("weight heads/key/bias",)}
HEADS = {"num_heads": 2, "key_dim": 3}


def heads(masked: bool = False, call: dict[str, Any] | None = None, **settings: Any) -> Any:
    """Return a builder of attention of several heads from one sequence to another."""

    def build(k: Layers, x: Any, y: Any) -> Any:
        query, value = (k.Masking(0.5)(each) if masked else each for each in (x, y))
        given = {"value": value, **(call or {})}
        found = k.MultiHeadAttention(**{**HEADS, **settings}, name="heads")(query, **given)
        return (
            [k.GRU(2)(found), found] if not (call or {}).get("return_attention_scores") else found
        )

    return functional(build, x=(9, 3), y=(6, 3))


def self_attention(k: Layers, x: Any) -> Any:
    """Return a block of a transformer in front of a GRU."""
    x = k.Masking(0.5)(x)
    both = k.Add()([x, k.MultiHeadAttention(2, 4, dropout=0.1, name="heads")(x, x)])
    return k.Dense(2)(k.GRU(4)(k.LayerNormalization(epsilon=1e-6)(both)))


def blocks(k: Layers, x: Any) -> Any:
    """Return two blocks, of which Keras 3 masks the first alone: it takes the mask off."""
    x = k.Masking(0.5)(x)
    for name in ("a", "b"):
        heads = k.MultiHeadAttention(2, 3, name=name)
        x = k.LayerNormalization()(k.Add()([x, heads(x, x)]))
    return [x, k.GRU(2)(x)]


def readers(k: Layers, x: Any) -> Any:
    """Return what reads a masked tensor before and after its mask is taken off."""
    x = k.Masking(0.5)(x)
    heads = [k.MultiHeadAttention(2, 3, name=name) for name in "abc"]
    a, b = heads[0](x, x), heads[1](x, x)
    both = [k.GRU(2)(k.Multiply()([x, a])), k.GRU(2)(k.Add()([x, b]))]
    return [*both, heads[2](k.Add()([x, a]), x)]


ATTENTION_CASES = [
    *(
        Case(
            f"heads {name}",
            heads(**given),
            TWO,
            mask=0.5,
            **(UNSEEN if given.get("use_bias", True) else {}),
        )
        for name, given in {
            "unmasked": {},
            "masked": {"masked": True},
            "causal masked": {"masked": True, "call": {"use_causal_mask": True}},
            "causal": {"call": {"use_causal_mask": True}},
            "with dropout at rest masked": {"masked": True, "dropout": 0.2},
            "without bias of other sizes": {"use_bias": False, "value_dim": 5, "output_shape": 4},
            "with weights": {"call": {"return_attention_scores": True}},
            "with weights masked": {"masked": True, "call": {"return_attention_scores": True}},
        }.items()
    ),
    Case(
        "heads with a key and a mask of pairs",
        functional(
            lambda k, x, y, z, m: k.GRU(2)(
                k.MultiHeadAttention(3, 2, name="heads")(
                    x, y, z, attention_mask=k.Dot(axes=2)([x, y]) > m
                )
            ),
            x=(9, 3),
            y=(6, 3),
            z=(6, 2),
            m=(1, 1),
        ),
        {"x": (5, 9, 3), "y": (5, 6, 3), "z": (5, 6, 2), "m": (5, 1, 1)},
        **UNSEEN,
    ),
    *(
        Case(
            f"heads over axes {axes}",
            functional(
                lambda k, x, axes=axes: k.TimeDistributed(k.Flatten())(
                    k.MultiHeadAttention(2, 3, attention_axes=axes, name="heads")(x, x)
                ),
                x=(4, 5, 3),
            ),
            {"x": (3, 4, 5, 3)},
            **UNSEEN,
        )
        for axes in ((1,), (2,), (1, 2), None)
    ),
    Case(
        "two blocks of a transformer",
        functional(blocks, x=(9, 3)),
        mask=0.5,
        zeros=("weight a/key/bias", "weight b/key/bias"),
    ),
    Case(
        "several readers of a masked tensor",
        functional(readers, x=(9, 3)),
        mask=0.5,
        zeros=tuple(f"weight {name}/key/bias" for name in "abc"),
    ),
    Case("transformer block", functional(self_attention, x=(9, 3)), mask=0.5, **UNSEEN),
    *(
        Case(
            f"{kind} causal",
            functional(
                lambda k, x, y, kind=kind: [
                    k.GRU(2)(getattr(k, kind)()([x, y], use_causal_mask=True)),
                    *getattr(k, kind)()([k.Masking(0.5)(x), y], return_attention_scores=True),
                ],
                x=(9, 3),
                y=(6, 3),
            ),
            TWO,
            mask=0.5,
        )
        for kind in ("Attention", "AdditiveAttention")
    ),
    Case(
        "attention block between masked grus",
        functional(
            lambda k, x: k.Dense(2)(
                k.GRU(3)(
                    k.Concatenate()(
                        [
                            (g := k.GRU(4, **SEQ)(k.Masking(0.5)(x))),
                            k.MultiHeadAttention(1, 4, name="heads")(g, g),
                        ]
                    )
                )
            ),
            x=(9, 3),
        ),
        mask=0.5,
        **UNSEEN,
    ),
]
