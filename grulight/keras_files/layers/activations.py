"""Keras' activation functions in torch: a closed table, nothing is looked up anywhere else."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.errors import listed
from grulight.keras_files.layers.base import KINDS
from grulight.keras_files.plan.spec import LayerSpec
from grulight.keras_files.reader.untrusted_text import quote

LAYERS = ("ELU", "LeakyReLU", "ReLU", "ThresholdedReLU")  # that serve as activations
Activation = Callable[[Tensor], Tensor]


def single(value: float) -> float:
    """Round as TensorFlow does, whose kernels take this constant as float32 in every precision."""
    return float(torch.tensor(value, dtype=torch.float32))


def linear(x: Tensor) -> Tensor:
    """Return the input."""
    return x


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + e^x); torch's own is cut off above 20."""
    return torch.logaddexp(x, torch.zeros_like(x))


def old_hard_sigmoid(x: Tensor) -> Tensor:
    """Return Keras 1's and 2's hard_sigmoid: clip(0.2 x + 0.5, 0, 1)."""
    return torch.clamp(0.2 * x + 0.5, 0.0, 1.0)


def new_hard_sigmoid(x: Tensor) -> Tensor:
    """Return Keras 3's hard_sigmoid: relu6(x + 3) / 6."""
    return F.relu6(x + 3.0) / 6.0


def hard_silu(x: Tensor) -> Tensor:
    """Return x times Keras 3's hard_sigmoid."""
    return x * new_hard_sigmoid(x)


def leaky_relu(x: Tensor) -> Tensor:
    """Return Keras 3's function leaky_relu, whose slope is 0.2."""
    return F.leaky_relu(x, single(0.2))


def gelu(x: Tensor) -> Tensor:
    """Return x times the normal distribution's share below x."""
    return 0.5 * x * torch.erfc(-x * single(math.sqrt(0.5)))


def softmax(x: Tensor) -> Tensor:
    """Return the softmax over the last axis."""
    return torch.softmax(x, -1)


def log_softmax(x: Tensor) -> Tensor:
    """Return the logarithm of the softmax over the last axis."""
    return torch.log_softmax(x, -1)


def mish(x: Tensor) -> Tensor:
    """Return x tanh(softplus(x))."""
    return x * torch.tanh(softplus(x))


def squareplus(x: Tensor) -> Tensor:
    """Return (x + sqrt(x^2 + 4)) / 2."""
    return (x + torch.sqrt(x.square() + 4.0)) / 2


def sparse_plus(x: Tensor) -> Tensor:
    """Return 0 below -1, x above 1, and (x + 1)^2 / 4 between."""
    return torch.where(x <= -1, 0.0, torch.where(x < 1, 0.25 * (x + 1).square(), x))


def sparse_sigmoid(x: Tensor) -> Tensor:
    """Return (x + 1) / 2, from 0 to 1."""
    return torch.where(x <= -1, 0.0, torch.where(x >= 1, 1.0, 0.5 * (x + 1)))


def sparsemax(x: Tensor) -> Tensor:
    """Return Keras 3's sparsemax along the last axis.

    Its threshold takes the sum of all running sums (keras/src/backend/tensorflow/nn.py), where
    Martins and Astudillo (2016) take the last one.
    """
    ordered = x.sort(-1, descending=True).values
    sums = ordered.cumsum(-1)
    support = ordered - (sums - 1) / torch.arange(1, x.shape[-1] + 1, device=x.device) > 0
    count = support.to(x.dtype).sum(-1, keepdim=True)
    total = torch.where(support, sums, 0.0).sum(-1, keepdim=True)
    return torch.relu(x - (total - 1) / count)


ACTIVATIONS: dict[str, Activation] = {
    "linear": linear,
    "relu": torch.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "softplus": softplus,
    "softsign": F.softsign,
    "elu": F.elu,
    "selu": F.selu,
    "exponential": torch.exp,
    "gelu": gelu,
    "silu": F.silu,
    "swish": F.silu,
    "mish": mish,
    "leaky_relu": leaky_relu,
    "hard_tanh": F.hardtanh,
    "hard_silu": hard_silu,
    "hard_swish": hard_silu,
    "celu": F.celu,
    "hard_shrink": F.hardshrink,
    "log_sigmoid": F.logsigmoid,
    "soft_shrink": F.softshrink,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "sparsemax": sparsemax,
    "squareplus": squareplus,
    "tanh_shrink": F.tanhshrink,
}


def activation(spec: LayerSpec, key: str, default: str = "linear") -> Activation:
    """Return the activation that a layer names; hard_sigmoid is the one of the file's Keras.

    Raises:
        InputError: It is not in the table, such as a function of somebody's own.
    """
    if (layer := activation_layer(spec, key)) is not None:
        return KINDS[layer.kind](layer, {}).compute
    name = activation_name(spec, key, default)
    if name == "hard_sigmoid":
        return old_hard_sigmoid if spec.version.major < 3 else new_hard_sigmoid
    return ACTIVATIONS[name]


def activation_layer(spec: LayerSpec, key: str) -> LayerSpec | None:
    """Return the layer that a layer has as its activation, as in `Dense(4, LeakyReLU(0.1))`."""
    value = spec.config.get(key)
    if not isinstance(value, dict) or value.get("class_name") not in LAYERS:
        return None
    config = value.get("config")
    settings = config if isinstance(config, dict) else {}
    return LayerSpec(spec.name, value["class_name"], settings, spec.version)


def activation_name(spec: LayerSpec, key: str, default: str = "linear") -> str:
    """Return the name of the activation that a layer names, a class where it is a layer."""
    value = spec.config.get(key, default)
    if (layer := activation_layer(spec, key)) is not None:
        return layer.kind
    if value is None:
        return "linear"
    if isinstance(value, dict) and value.get("class_name") == "function":
        if value.get("module") not in ("builtins", "keras.activations", None):
            raise spec.refuse(key, f"a function of Keras, not of {quote(value.get('module'))}")
        value = value.get("config")
    if not isinstance(value, str) or value not in {*ACTIVATIONS, "hard_sigmoid"}:
        known = sorted([*ACTIVATIONS, "hard_sigmoid"])
        raise spec.refuse(key, f"one of {listed(known, like=[str(value)])}")
    return value
