"""Keras' variants of Adam for PyTorch: Adamax, Nadam and Lion, as ``grulight.optim`` has Adam.

The equations are those of ``adamax.py``, ``nadam.py`` and ``lion.py`` in ``keras/src/optimizers``
(3.15). Which of its numbers Keras rounds to float32 for float64 weights differs from one to the
next; what is not said to be rounded stays double.
"""

from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import ParamsT

from grulight.kernels.adam import round_to_float32
from grulight.optim import roots
from grulight.optimizer_base import ALWAYS, Columns, KerasOptimizer

Betas = tuple[float, float]


def _average(kept: Any, new: Any, share: float) -> None:
    """Move running means towards new values by a share of the way."""
    change = torch._foreach_sub(new, kept)
    torch._foreach_mul_(change, share)
    torch._foreach_add_(kept, change)


class KerasAdamax(KerasOptimizer):
    r"""Adam by the largest gradient (Kingma and Ba 2014, section 7.1), as Keras computes it.

    .. math::
        m \leftarrow m + (g - m)(1 - \beta_1), \quad u \leftarrow \max(\beta_2 u, |g|), \quad
        w \leftarrow w - lr\, m / ((1 - \beta_1^t)(u + \epsilon))

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: What a step keeps of the running mean, and of the largest gradient.
        eps: Keeps the division away from zero.
        weight_decay: Share of each weight, times lr, that is taken off before the step.
        foreach: Treat all tensors in one call; False goes one by one, with the same result.
    """

    slots = (("exp_avg", ALWAYS), ("exp_inf", ALWAYS))

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        super().__init__(params, lr, weight_decay, foreach, betas=betas, eps=eps)

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        params, grads, means, largest = columns
        beta1, beta2 = group["betas"]
        number = _number(params[0])
        left = float(number(1) - number(np.float32(beta1)) ** number(group["step"]))
        _average(means, grads, 1 - beta1)
        torch._foreach_mul_(largest, beta2)
        torch._foreach_maximum_(largest, torch._foreach_abs(grads))
        scale = torch._foreach_add(largest, group["eps"])
        torch._foreach_mul_(scale, left)
        move = torch._foreach_mul(means, round_to_float32(group["lr"]))
        torch._foreach_div_(move, scale)
        torch._foreach_sub_(params, move)


def _number(parameter: torch.Tensor) -> Any:
    """Return NumPy's type for the numbers that belong to a parameter's steps."""
    return np.float64 if parameter.dtype == torch.float64 else np.float32


class KerasNadam(KerasOptimizer):
    r"""Adam with Nesterov's momentum (Dozat 2016), as Keras computes it.

    .. math::
        u_t &= \beta_1 (1 - 0.96^t / 2), \quad U_t = \prod_{i \le t} u_i \\
        \hat m &= u_{t+1} m / (1 - U_t u_{t+1}) + (1 - u_t) g / (1 - U_t),
        \quad \hat v = v / (1 - \beta_2^t) \\
        w &\leftarrow w - lr\, \hat m / (\sqrt{\hat v} + \epsilon)

    with Adam's running means m and v.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: What a step keeps of the running means of the gradient and of its square.
        eps: Keeps the division away from zero.
        weight_decay: Share of each weight, times lr, that is taken off before the step.
        foreach: Treat all tensors in one call; False goes one by one, with the same result.
    """

    slots = (("exp_avg", ALWAYS), ("exp_avg_sq", ALWAYS))

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        super().__init__(params, lr, weight_decay, foreach, betas=betas, eps=eps, u_product=1.0)

    def _begin(self, group: dict[str, Any]) -> None:
        number = _number(group["params"][0])
        grown = number(1) - number(0.5) * number(0.96) ** number(group["step"])
        group["u_product"] = float(number(group["u_product"]) * number(group["betas"][0]) * grown)

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        params, grads, means, squares = columns
        number, step = _number(params[0]), group["step"]
        beta1, beta2, decay = (number(np.float32(each)) for each in (*group["betas"], 0.96))
        one, half, product = number(1), number(0.5), number(group["u_product"])
        now, then = (beta1 * (one - half * decay ** number(t)) for t in (step, step + 1))
        _average(means, grads, float(one - beta1))
        _average(squares, torch._foreach_mul(grads, grads), float(one - beta2))
        move = torch._foreach_mul(means, float(then))
        torch._foreach_div_(move, float(one - product * then))
        ahead = torch._foreach_mul(grads, float(one - now))
        torch._foreach_div_(ahead, float(one - product))
        torch._foreach_add_(move, ahead)
        scale = roots(torch._foreach_div(squares, float(one - beta2 ** number(step))))
        torch._foreach_add_(scale, group["eps"])
        torch._foreach_mul_(move, round_to_float32(group["lr"]))
        torch._foreach_div_(move, scale)
        torch._foreach_sub_(params, move)


class KerasLion(KerasOptimizer):
    r"""Lion (Chen et al. 2023) as Keras computes it.

    .. math::
        w \leftarrow w - lr\, \mathrm{sign}(\beta_1 m + (1 - \beta_1) g), \quad
        m \leftarrow \beta_2 m + (1 - \beta_2) g

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: What a step keeps of the running mean, for its direction and for the next step.
        weight_decay: Share of each weight, times lr, that is taken off before the step.
        foreach: Treat all tensors in one call; False goes one by one, with the same result.
    """

    slots = (("exp_avg", ALWAYS),)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.99),
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        super().__init__(params, lr, weight_decay, foreach, betas=betas)

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        params, grads, means = columns
        number = _number(params[0])
        mixed = []
        for beta in (number(np.float32(each)) for each in group["betas"]):
            each = torch._foreach_mul(means, float(beta))
            torch._foreach_add_(each, torch._foreach_mul(grads, float(number(1) - beta)))
            mixed.append(each)
        move = torch._foreach_mul(torch._foreach_sign(mixed[0]), round_to_float32(group["lr"]))
        torch._foreach_sub_(params, move)
        torch._foreach_copy_(means, mixed[1])
