"""Keras' optimisers for PyTorch: the same operations in the same order, to the last bit.

The equations are those of ``keras/src/optimizers`` (3.15, on TensorFlow) in ``adam.py``,
``rmsprop.py``, ``sgd.py`` and ``base_optimizer.py``. What formulas do not say, and these repeat:

- Keras rounds the learning rate, the weight decay, SGD's momentum and the betas inside Adam's
  alpha to float32, also for float64 weights; eps, rho, RMSprop's momentum and 1 - beta stay double.
- Weight decay is decoupled and comes first, for every optimiser: ``w -= w * weight_decay * lr``.
- One count of steps serves a whole group, also parameters that had no gradient for a while.

Not repeated: for weights below float32 Keras rounds these numbers too, and as 0.999 is 1 in
bfloat16, its Adam never moves there. Here such weights take the float32 numbers.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from grulight.kernels.adam import round_to_float32, step_size
from grulight.optimizer_base import ALWAYS, Columns, KerasOptimizer


def roots(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Take roots rounded correctly, as TensorFlow and CUDA do, also of float32 on a CPU.

    PyTorch's CPU root is Intel MKL's, one unit off for about one float32 in six. A double root has
    digits to spare, so that rounding it decides right.
    """
    if values[0].dtype == torch.float32 and values[0].device.type == "cpu":
        return tuple(value.double().sqrt().float() for value in values)
    return torch._foreach_sqrt(values)


class KerasAdam(KerasOptimizer):
    r"""Adam as Keras computes it.

    With gradient :math:`g` at step :math:`t = 1, 2, …`, from :math:`m = v = 0`:

    .. math::
        m &\leftarrow m + (g - m)(1 - \beta_1), \quad v \leftarrow v + (g^2 - v)(1 - \beta_2) \\
        w &\leftarrow w - m \alpha_t / (\sqrt{v} + \epsilon),
        \quad \alpha_t = lr \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)

    The form before section 2.1 of Kingma and Ba 2014 (arXiv 1412.6980), epsilon before the bias
    correction. ``torch.optim.Adam`` adds it after, so no constant ``eps`` makes the two equal.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: What a step keeps of the running means of the gradient and of its square.
        eps: Keeps the division away from zero.
        weight_decay: Share of each weight, times lr, that is taken off before the step.
        amsgrad: Divide by the largest v so far (Reddi et al. 2018, arXiv 1904.09237).
        foreach: Treat all tensors in one call; False goes one by one, with the same result.
    """

    slots = (("exp_avg", ALWAYS), ("exp_avg_sq", ALWAYS), ("max_exp_avg_sq", "amsgrad"))

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        foreach: bool = True,
    ) -> None:
        super().__init__(params, lr, weight_decay, foreach, betas=betas, eps=eps, amsgrad=amsgrad)

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        params, grads, means, squares, *largest = columns
        keeps = (means, squares), (grads, torch._foreach_mul(grads, grads))
        for kept, new, beta in zip(*keeps, group["betas"], strict=True):
            change = torch._foreach_sub(new, kept)
            torch._foreach_mul_(change, 1 - beta)
            torch._foreach_add_(kept, change)
        for kept in largest:
            torch._foreach_maximum_(kept, squares)
        scale = roots(largest[0] if largest else squares)
        torch._foreach_add_(scale, group["eps"])
        move = torch._foreach_mul(means, _step_size(group, params[0].dtype))
        torch._foreach_div_(move, scale)
        torch._foreach_sub_(params, move)


def _step_size(group: dict[str, Any], dtype: torch.dtype) -> float:
    return step_size(group["lr"], group["betas"], group["step"], double=dtype == torch.float64)


class KerasRMSprop(KerasOptimizer):
    r"""RMSprop as Keras computes it.

    .. math::
        v &\leftarrow \varrho v + (1 - \varrho) g^2 \\
        a &\leftarrow \varrho a + (1 - \varrho) g \\
        u &\leftarrow \mu u + lr\, g / \sqrt{v - a^2 + \epsilon}, \quad w \leftarrow w - u

    with rho, momentum mu, and a = 0 unless ``centered`` (Graves 2013, arXiv 1308.0850, equations 38
    to 45). ``torch.optim.RMSprop`` adds epsilon outside the root.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        rho: What a step keeps of the running means; PyTorch calls it alpha.
        momentum: What a step keeps of the step before.
        eps: Keeps the division away from zero.
        weight_decay: Share of each weight, times lr, that is taken off before the step.
        centered: Divide by the deviation of the gradient instead of its root mean square.
        foreach: Treat all tensors in one call; False goes one by one, with the same result.
    """

    slots = (("square_avg", ALWAYS), ("grad_avg", "centered"), ("velocity", "momentum"))

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        rho: float = 0.9,
        momentum: float = 0.0,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        centered: bool = False,
        foreach: bool = True,
    ) -> None:
        own = {"rho": rho, "momentum": momentum, "eps": eps, "centered": centered}
        super().__init__(params, lr, weight_decay, foreach, **own)

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        params, grads, squares, *rest = columns
        means = rest[:1] if group["centered"] else []
        news = (torch._foreach_mul(grads, grads), grads)
        for kept, new in zip((squares, *means), news, strict=False):
            torch._foreach_mul_(kept, group["rho"])
            torch._foreach_add_(kept, torch._foreach_mul(new, 1 - group["rho"]))
        for mean in means:
            squares = torch._foreach_sub(squares, torch._foreach_mul(mean, mean))
        scale = roots(torch._foreach_add(squares, group["eps"]))
        move = torch._foreach_div(torch._foreach_mul(grads, round_to_float32(group["lr"])), scale)
        if group["momentum"]:
            torch._foreach_mul_(rest[-1], group["momentum"])
            torch._foreach_add_(rest[-1], move)
            move = rest[-1]
        torch._foreach_sub_(params, move)


class KerasSGD(KerasOptimizer):
    r"""Gradient descent as Keras computes it.

    .. math::
        u \leftarrow \mu u - lr\, g, \quad w \leftarrow w + u
        \quad (\text{Nesterov: } w \leftarrow w + \mu u - lr\, g)

    The velocity u holds the learning rates of its time. ``torch.optim.SGD`` multiplies its buffer
    by today's, which is the same only while lr is constant.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        momentum: What a step keeps of the velocity.
        weight_decay: Share of each weight, times lr, that is taken off before the step.
        nesterov: Look one step ahead along the velocity (Sutskever et al. 2013).
        foreach: Treat all tensors in one call; False goes one by one, with the same result.
    """

    slots = (("velocity", "momentum"),)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        foreach: bool = True,
    ) -> None:
        super().__init__(params, lr, weight_decay, foreach, momentum=momentum, nesterov=nesterov)

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        params, grads, *velocities = columns
        momentum = round_to_float32(group["momentum"])
        move = torch._foreach_mul(grads, -round_to_float32(group["lr"]))
        for velocity in velocities:
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, move)
            ahead = torch._foreach_mul(velocity, momentum) if group["nesterov"] else None
            move = torch._foreach_add(ahead, move) if ahead else velocity
        torch._foreach_add_(params, move)
