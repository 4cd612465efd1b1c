"""Operations that are functions of each number by itself."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.keras_files.layers.activations import ACTIVATIONS, new_hard_sigmoid

# Functions of numbers by themselves, of one tensor.
ONE_TENSOR: dict[str, Callable[[Tensor], Tensor]] = {
    "Arccos": torch.acos,
    "Arccosh": torch.acosh,
    "Arcsin": torch.asin,
    "Arcsinh": torch.asinh,
    "Arctan": torch.atan,
    "Arctanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp2": torch.exp2,
    "Expm1": torch.expm1,
    "Floor": torch.floor,
    "HardSigmoid": new_hard_sigmoid,
    "HardSilu": ACTIVATIONS["hard_silu"],
    "HardTanh": F.hardtanh,
    "Isfinite": torch.isfinite,
    "Isnan": torch.isnan,
    "Log10": torch.log10,
    "Log1p": torch.log1p,
    "Log2": torch.log2,
    "LogSigmoid": F.logsigmoid,
    "Reciprocal": torch.reciprocal,
    "Relu6": F.relu6,
    "Rsqrt": torch.rsqrt,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softsign": F.softsign,
    "SparsePlus": ACTIVATIONS["sparse_plus"],
    "SparseSigmoid": ACTIVATIONS["sparse_sigmoid"],
    "StopGradient": torch.detach,
    "Tan": torch.tan,
    "TanhShrink": F.tanhshrink,
}


def _divide_no_nan(ours: Tensor, theirs: Tensor) -> Tensor:
    zero = theirs == 0
    return torch.where(zero, 0.0, ours / torch.where(zero, torch.ones_like(theirs), theirs))


TWO_TENSORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Arctan2": torch.atan2,
    "DivideNoNan": _divide_no_nan,
    "FloorDivide": torch.floor_divide,
    "Logaddexp": torch.logaddexp,
    "LogicalXor": torch.logical_xor,
    "Mod": torch.remainder,
    "SquaredDifference": lambda ours, theirs: (ours - theirs).square(),
}
