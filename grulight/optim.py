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

import math
from collections.abc import Callable, Hashable
from ctypes import c_float
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

Columns = list[tuple[Tensor, ...]]

ALWAYS = "always"
BELOW = {"lr": math.inf, "eps": math.inf, "weight_decay": math.inf} | dict.fromkeys(
    ("betas[0]", "betas[1]", "rho", "momentum"), 1.0
)


def _float32(value: float) -> float:
    return c_float(value).value


def _sqrt(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Take roots rounded correctly, as TensorFlow and CUDA do, also of float32 on a CPU.

    PyTorch's CPU root is Intel MKL's, one unit off for about one float32 in six. A double root has
    digits to spare, so that rounding it decides right.
    """
    if values[0].dtype == torch.float32 and values[0].device.type == "cpu":
        return tuple(value.double().sqrt().float() for value in values)
    return torch._foreach_sqrt(values)


class _KerasOptimizer(Optimizer):
    """What Keras' ``base_optimizer.py`` does around each optimiser's own update."""

    # Tensors kept for each parameter, zero at first, and the option that asks for them.
    slots: tuple[tuple[str, str], ...]

    def __init__(
        self, params: ParamsT, lr: float, weight_decay: float, foreach: bool, **options: object
    ) -> None:
        common = {"lr": lr, "weight_decay": weight_decay, "foreach": foreach, "step": 0}
        super().__init__(params, common | options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Check a group's options and take it in."""
        options = self.defaults | param_group
        if "betas" in options:
            options["betas[0]"], options["betas[1]"] = (*options["betas"], None, None)[:2]
        for name, limit in BELOW.items():
            value = options.get(name, 0.0)
            if not isinstance(value, int | float) or not 0 <= _float32(value) < limit:
                rule = f"a number in [0, {limit}) once rounded to float32"
                raise ValueError(f"{type(self).__name__}: {name} must be {rule}, got {value!r}.")
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the saved optimiser stood, bit for bit."""
        for group in state_dict["param_groups"]:
            if missing := sorted(self.defaults.keys() - group.keys()):
                name = type(self).__name__
                raise ValueError(f"No state of a {name}: its param_groups lack {missing}.")
        super().load_state_dict(state_dict)

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch's overloads, in one signature
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Move every parameter that has a gradient; return the closure's loss, if one is given."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        work = [(group, columns) for group in self.param_groups for columns in self._gather(group)]
        for group in self.param_groups if work else ():
            group["step"] += 1
        for group, columns in work:
            if group["weight_decay"]:
                decay = torch._foreach_mul(columns[0], _float32(group["weight_decay"]))
                torch._foreach_mul_(decay, _float32(group["lr"]))
                torch._foreach_sub_(columns[0], decay)
            self._update(group, columns)
        return loss

    def _gather(self, group: dict[str, Any]) -> list[Columns]:
        """Return columns that one foreach call can take: parameters, gradients, each slot."""
        tables: dict[Hashable, list[list[Tensor]]] = {}
        slots = [name for name, option in self.slots if option == ALWAYS or group[option]]
        for parameter in (p for p in group["params"] if p.grad is not None):
            gradient, state = parameter.grad, self.state[parameter]
            if gradient.layout != torch.strided or not gradient.is_floating_point():
                raise RuntimeError(
                    f"{type(self).__name__} needs dense real gradients, got {gradient.layout} "
                    f"{gradient.dtype} for a parameter of shape {tuple(parameter.shape)}."
                )
            for name in slots:
                if name not in state:
                    state[name] = torch.zeros_like(parameter)
            key = (parameter.device, parameter.dtype) if group["foreach"] else id(parameter)
            row = [parameter, gradient, *(state[name] for name in slots)]
            tables.setdefault(key, []).append(row)
        return [list(zip(*rows, strict=True)) for rows in tables.values()]

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        raise NotImplementedError


class KerasAdam(_KerasOptimizer):
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
        scale = _sqrt(largest[0] if largest else squares)
        torch._foreach_add_(scale, group["eps"])
        move = torch._foreach_mul(means, self._alpha(group, params[0].dtype))
        torch._foreach_div_(move, scale)
        torch._foreach_sub_(params, move)

    @staticmethod
    def _alpha(group: dict[str, Any], dtype: torch.dtype) -> float:
        """Correct lr for the start at zero, with Keras' rounding of every operation."""
        number = np.float64 if dtype == torch.float64 else np.float32
        lr, beta1, beta2 = (number(_float32(value)) for value in (group["lr"], *group["betas"]))
        one, step = number(1), number(group["step"])
        return float(lr * np.sqrt(one - beta2**step) / (one - beta1**step))


class KerasRMSprop(_KerasOptimizer):
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
        scale = _sqrt(torch._foreach_add(squares, group["eps"]))
        move = torch._foreach_div(torch._foreach_mul(grads, _float32(group["lr"])), scale)
        if group["momentum"]:
            torch._foreach_mul_(rest[-1], group["momentum"])
            torch._foreach_add_(rest[-1], move)
            move = rest[-1]
        torch._foreach_sub_(params, move)


class KerasSGD(_KerasOptimizer):
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
        momentum = _float32(group["momentum"])
        move = torch._foreach_mul(grads, -_float32(group["lr"]))
        for velocity in velocities:
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, move)
            ahead = torch._foreach_mul(velocity, momentum) if group["nesterov"] else None
            move = torch._foreach_add(ahead, move) if ahead else velocity
        torch._foreach_add_(params, move)
