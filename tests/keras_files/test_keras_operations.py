"""Operations on tensors in Functional files compute what Keras computes, gradients included."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from casekit import Case, functional
from test_keras_parity import BOUND, flat, gradient, largest_error
from theirs import KERAS_3, Flavour, built, computed, in_float64, keras_2, quietly

import grulight
from parity.keras_files.check import check_file

ops = keras.ops
NUMBERS: dict[str, Callable[[Any], Any]] = {
    **{
        name: getattr(ops, name)
        for name in (
            *("abs", "arcsinh", "arctan", "cos", "cosh", "erf", "exp2", "expm1", "hard_sigmoid"),
            *(
                "hard_silu",
                "hard_tanh",
                "log_sigmoid",
                "reciprocal",
                "relu6",
                "sign",
                "sin",
                "sinh",
            ),
            *("softsign", "sparse_plus", "sparse_sigmoid", "tan", "tanh_shrink", "celu", "glu"),
            *("hard_shrink", "soft_shrink", "squareplus", "sparsemax", "gelu", "log_softmax"),
        )
    },
    "arcsin": lambda x: ops.arcsin(0.2 * x),
    "arccos": lambda x: ops.arccos(0.2 * x),
    "arctanh": lambda x: ops.arctanh(0.2 * x),
    "log1p": lambda x: ops.log1p(ops.square(x)),
    "log2 and log10": lambda x: ops.log2(ops.square(x)) + ops.log10(ops.square(x)),
    "rsqrt": lambda x: ops.rsqrt(ops.square(x) + 1.0),
    "floor and ceil": lambda x: x * ops.floor(x) + x * ops.ceil(x),
    "arctan2": lambda x: ops.arctan2(x, x + 1.0),
    "divide_no_nan": lambda x: ops.divide_no_nan(x, ops.relu(x)),
    "logaddexp": lambda x: ops.logaddexp(x, 2.0 * x),
    "mod": lambda x: ops.mod(x, 0.75),
    "elu with an alpha": lambda x: ops.elu(x, alpha=0.5),
    "exact gelu": lambda x: ops.gelu(x, approximate=False),
}
PARTS: dict[str, Callable[[Any], Any]] = {
    "var": lambda x: ops.var(x, axis=1),
    "std": lambda x: ops.std(x, axis=(1, 2), keepdims=True),
    "prod": lambda x: ops.prod(x, axis=(1, 2)),
    "logsumexp": lambda x: ops.logsumexp(x, axis=-1),
    "amax": lambda x: ops.amax(x, axis=1) - ops.amin(x, axis=1),
    "argmax": lambda x: ops.cast(ops.argmax(x, axis=-1), x.dtype) + x[..., 0],
    "cumsum": lambda x: ops.cumsum(x, axis=1) + ops.cumprod(x, axis=1),
    "one_hot": lambda x: ops.one_hot(ops.argmax(x, axis=-1), 6) * x,
    "broadcast_to": lambda x: ops.broadcast_to(ops.mean(x, 1, keepdims=True), (None, 9, 6)),
    "moveaxis": lambda x: ops.moveaxis(x, 1, 2),
    "roll": lambda x: ops.roll(x, 2, axis=1),
    "pad": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 3))),
    "tril": lambda x: ops.tril(x, k=1) + ops.triu(x),
    "norm": lambda x: ops.norm(x, axis=-1),
}
EVERY = NUMBERS | PARTS
SLOWER = pytest.mark.slow


def at_once(k: Flavour, x: Any, each: dict[str, Callable[[Any], Any]]) -> Any:
    """Return all operations of one tensor, which has weights behind it."""
    y = k.Dense(6, use_bias=False)(x)
    return [one(y) for one in each.values()]


def agrees(build: Callable[[Flavour], Any], flavour: Flavour, path: Path) -> None:
    model = built(build, 5, flavour)
    quietly(model.save, path)
    case = Case("operation", build, {"x": (3, 9, 6)})
    expected = computed(in_float64(build, model, flavour), case.inputs(), 9)
    ported = grulight.load_keras(path).double()
    x = torch.from_numpy(case.inputs()["x"]).requires_grad_()
    outputs = ported(x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    rng = np.random.default_rng(9)
    sum((y * torch.from_numpy(rng.normal(size=y.shape))).sum() for y in outputs).backward()
    found = {f"output {at}": y.detach().numpy() for at, y in enumerate(outputs)}
    found |= {"input x": gradient(x).numpy(), **flat(ported.keras_arrays(gradient), "weight ")}
    assert largest_error(found, expected) <= BOUND


@pytest.mark.parametrize("suffix", ["keras", pytest.param("h5", marks=SLOWER)])
def test_all_of_keras_3_at_once(tmp_path: Path, suffix: str) -> None:
    each = {name: one for name, one in EVERY.items() if name != "broadcast_to"}
    build = functional(lambda k, x: at_once(k, x, each), x=(9, 6))
    agrees(build, KERAS_3, tmp_path / f"model.{suffix}")


TENSORFLOW: dict[str, Callable[[Any], Any]] = {
    "numbers": lambda x: tf.math.sin(x) + tf.math.cos(x) * tf.math.erf(x) - tf.nn.relu6(x),
    "square root": lambda x: tf.math.rsqrt(tf.math.log1p(tf.math.square(x)) + 1.0),
    "differences": lambda x: tf.math.squared_difference(x, tf.math.floor(x)),
    "no nan": lambda x: tf.math.divide_no_nan(x, tf.nn.relu(x)),
    "moments": lambda x: tf.math.reduce_variance(x, 1) + tf.math.reduce_std(x, axis=1),
    "logarithms": lambda x: tf.math.reduce_logsumexp(x, axis=[1], keepdims=True),
    "softmax": lambda x: tf.nn.log_softmax(x, axis=1) + tf.nn.softsign(x),
    "gelu": lambda x: tf.nn.gelu(x, approximate=True) + tf.nn.gelu(x),
    "one hot": lambda x: tf.one_hot(tf.math.argmax(x, axis=-1), 6) * tf.cast(x, "float32"),
    "pad": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0]]),
    "roll": lambda x: tf.roll(x, 2, axis=1),
    "sums": lambda x: tf.math.cumsum(x, axis=1),
    "norm": lambda x: tf.norm(x, axis=-1),
}
IN_FLOAT64 = {name: one for name, one in TENSORFLOW.items() if name != "one hot"}


@pytest.mark.parametrize("suffix", ["h5", pytest.param("keras", marks=SLOWER)])
def test_all_of_tensorflow_at_once(tmp_path: Path, suffix: str) -> None:
    build = functional(lambda k, x: at_once(k, x, IN_FLOAT64), x=(9, 6))
    agrees(build, keras_2(), tmp_path / f"model.{suffix}")


@SLOWER
def test_operations_of_tensorflow_are_proven(tmp_path: Path) -> None:
    def build(k: Flavour) -> Any:
        x = k.Input((9, 6))
        held = [TENSORFLOW[name](x) for name in ("gelu", "pad", "differences", "one hot")]
        return k.Model(x, k.GRU(2)(k.Concatenate(axis=1)(held)))

    quietly(built(build, 1, keras_2()).save, tmp_path / "model.keras")
    assert check_file(tmp_path / "model.keras").verdict == "the same"
