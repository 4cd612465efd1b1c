"""What a case is: a Keras model by name, and what to feed it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Layers = Any  # a Flavour of Keras: its layers and models


@dataclass(frozen=True)
class Case:
    """A model and what to feed it.

    Attributes:
        name: Reads as a sentence fragment.
        build: From a Keras to a model.
        shapes: Shape of each float input by name; some steps are masked where ``mask`` says.
        ids: Shape of each integer input by name.
        mask: Value that every feature of a masked step has.
        bools: Shape of each mask input by name.
        zeros: Gradients that are zero but for rounding, such as of what softmax does not see.
    """

    name: str
    build: Callable[[Layers], Any]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"x": (5, 9, 3)})
    ids: dict[str, tuple[int, ...]] = field(default_factory=dict)
    mask: float | None = None
    bools: dict[str, tuple[int, ...]] = field(default_factory=dict)
    training: bool = False
    zeros: tuple[str, ...] = ()

    @property
    def quick(self) -> bool:
        """Whether it runs by default: each layer and each setting at least once."""
        words = (
            *("heads over axes (", "heads with weights masked", "heads causal", "heads without"),
            *("volumes", "features before", "AdditiveAttention causal", "another order"),
            *("row by row", "attention block"),
            *("last step", "ave", "mul", "stride 2", "implementation", "linear gates", "hundred"),
        )
        simple = ("activation", "conv1d valid", "layer ReLU with", "conv1d same")
        unmasked = self.name.startswith("gru ") and not self.name.endswith("masked")  # has a twin
        # of which another case has each setting
        twins = (
            *("bidirectional concat every step", "bidirectional sum every step"),
            *("MaxPooling1D valid stride None", "AveragePooling1D same stride None"),
            *("stacked cells with states 1", "embedding unmasked"),
        )
        kept = ("activation hard_sigmoid", "activation gelu", "activation softplus")
        return self.name in (*kept, "gru standard every step") or not (
            any(word in self.name for word in words)
            or self.name.startswith(simple)
            or unmasked
            or self.name in twins
        )

    def inputs(self) -> dict[str, NDArray[Any]]:
        rng = np.random.default_rng(3)
        held: dict[str, NDArray[Any]] = {}
        for at, (name, shape) in enumerate(self.shapes.items()):
            held[name] = rng.normal(0, 1, shape)
            if self.mask is not None and len(shape) > 2:
                # one feature alone masks no step; of several inputs others, lest they tie
                held[name][:, at::3, 0] = self.mask
                held[name][holes(shape[:2])] = self.mask
        for name, shape in self.ids.items():
            held[name] = rng.integers(1, 8, shape).astype("int32")
            held[name][holes(shape[:2], seed=12)] = 0
        for name, shape in self.bools.items():
            held[name] = ~holes(shape)
        return held


def holes(shape: tuple[int, ...], seed: int = 11) -> NDArray[np.bool_]:
    """Return masked steps: right padding, left padding, holes, one row whole, one row none."""
    rows, steps = shape
    masked = np.random.default_rng(seed).random(shape) < 0.3
    masked[0, steps // 2 :] = True
    masked[0, : steps // 2] = False
    masked[1, : steps // 2] = True
    masked[1, steps // 2 :] = False
    masked[-1] = False
    if rows > 3:
        masked[-2] = True
    return masked


def sequential(*make: Callable[[Layers], Any], shape: tuple[int | None, ...] = (9, 3)) -> Any:
    """Return a builder of a Sequential; each layer is made when its turn comes."""

    def build(k: Layers) -> Any:
        return k.Sequential([k.Input(shape, name="x"), *(one(k) for one in make)])

    return build


def functional(make: Callable[..., Any], **shapes: tuple[int | None, ...]) -> Any:
    """Return a builder of a Functional; ids and masks are told by the name of the input."""

    def build(k: Layers) -> Any:
        types = {"ids": "int32", "mask": "bool"}
        inputs = {
            name: k.Input(shape, name=name, dtype=types.get(name)) for name, shape in shapes.items()
        }
        return k.Model(list(inputs.values()), make(k, **inputs))

    return build


def gru(**settings: object) -> Callable[[Layers], Any]:
    return lambda k: k.GRU(4, **settings)


def both(mode: str | None = "concat", **settings: object) -> Callable[[Layers], Any]:
    return lambda k: k.Bidirectional(k.GRU(4, **settings), merge_mode=mode)


def layer(kind: str, *args: object, **settings: object) -> Callable[[Layers], Any]:
    return lambda k: getattr(k, kind)(*args, **settings)


def masking(k: Layers) -> Any:
    return k.Masking(0.5)


def dense(k: Layers) -> Any:
    return k.Dense(2, activation="softmax")


SEQ = {"return_sequences": True}
BACK = {"go_backwards": True}
OLD = {"reset_after": False}

GRU_SETTINGS: dict[str, dict[str, object]] = {
    "standard": {},
    "reset before": OLD,
    "no bias": {"use_bias": False},
    "no bias reset before": {"use_bias": False, **OLD},
    "backwards": BACK,
    "backwards reset before": {**BACK, **OLD},
    "hard sigmoid": {"recurrent_activation": "hard_sigmoid"},
    "relu and linear gates": {"activation": "relu", "recurrent_activation": "sigmoid", **OLD},
    "softsign and elu": {"activation": "elu", "recurrent_activation": "softsign"},
    "dropout at rest": {"dropout": 0.3, "recurrent_dropout": 0.2},
    "implementation 1": {"implementation": 1},
    "unrolled": {"unroll": True},
    "zero masked": {"zero_output_for_mask": True},
}
