"""Keras' Adagrad and Adadelta for PyTorch, as ``grulight.optim`` has Adam.

The equations are those of ``adagrad.py`` and ``adadelta.py`` in ``keras/src/optimizers`` (3.15),
where only the learning rate and Adagrad's start are rounded to float32 for float64 weights.
"""

from typing import Any

import torch
from torch.optim.optimizer import ParamsT

from grulight.kernels.adam import round_to_float32
from grulight.optim import roots
from grulight.optimizer_base import ALWAYS, Columns, KerasOptimizer


class KerasAdagrad(KerasOptimizer):
    r"""Adagrad (Duchi et al. 2011) as Keras computes it.

    .. math::
        a \leftarrow a + g^2, \quad w \leftarrow w - lr\, g / \sqrt{a + \epsilon}

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        initial_accumulator_value: Where the sum of squares a starts.
        eps: Keeps the division away from zero.
        weight_decay: Share of each weight, times lr, that is taken off before the step.
        foreach: Treat all tensors in one call; False goes one by one, with the same result.
    """

    slots = (("sum", ALWAYS),)
    starts = (("sum", "initial_accumulator_value"),)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        initial_accumulator_value: float = 0.1,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        own = {"initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(params, lr, weight_decay, foreach, **own)

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        params, grads, sums = columns
        torch._foreach_add_(sums, torch._foreach_mul(grads, grads))
        scale = roots(torch._foreach_add(sums, group["eps"]))
        move = torch._foreach_mul(grads, round_to_float32(group["lr"]))
        torch._foreach_div_(move, scale)
        torch._foreach_sub_(params, move)


class KerasAdadelta(KerasOptimizer):
    r"""Adadelta (Zeiler 2012) as Keras computes it.

    .. math::
        a \leftarrow \varrho a + (1 - \varrho) g^2, \quad
        d = -g \sqrt{b + \epsilon} / \sqrt{a + \epsilon}, \quad
        b \leftarrow \varrho b + (1 - \varrho) d^2, \quad w \leftarrow w + lr\, d

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        rho: What a step keeps of the running means.
        eps: Keeps the division away from zero.
        weight_decay: Share of each weight, times lr, that is taken off before the step.
        foreach: Treat all tensors in one call; False goes one by one, with the same result.
    """

    slots = (("square_avg", ALWAYS), ("acc_delta", ALWAYS))

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        rho: float = 0.95,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        super().__init__(params, lr, weight_decay, foreach, rho=rho, eps=eps)

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        params, grads, squares, moved = columns
        self._keep(squares, grads, group["rho"])
        move = torch._foreach_mul(roots(torch._foreach_add(moved, group["eps"])), grads)
        torch._foreach_div_(move, roots(torch._foreach_add(squares, group["eps"])))
        self._keep(moved, move, group["rho"])
        torch._foreach_mul_(move, round_to_float32(group["lr"]))
        torch._foreach_sub_(params, move)

    @staticmethod
    def _keep(kept: Any, new: Any, rho: float) -> None:
        torch._foreach_mul_(kept, rho)
        torch._foreach_add_(kept, torch._foreach_mul(torch._foreach_mul(new, new), 1 - rho))
