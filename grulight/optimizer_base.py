"""What Keras does around each optimiser's own update: options, weight decay, the count of steps.

The equations are those of ``keras/src/optimizers/base_optimizer.py`` (3.15), with the
rounding that ``grulight.optim`` describes.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from grulight.kernels.adam import round_to_float32

Columns = list[tuple[Tensor, ...]]

ALWAYS = "always"
BELOW = {"lr": math.inf, "eps": math.inf, "weight_decay": math.inf} | dict.fromkeys(
    ("betas[0]", "betas[1]", "rho", "momentum"), 1.0
)
BELOW["initial_accumulator_value"] = math.inf
# what is kept of gradients that have not moved anything yet: their sum, and how many they are
ACCUMULATED, KEPT = "accumulated_grad", "kept_gradients"


@dataclass
class Clipping:
    """Clip gradients as Keras does: by value, by the norm over all, or by each variable's norm.

    Attributes:
        rule: `clipvalue`, `global_clipnorm` or `clipnorm`.
        limit: The largest that is left.
        variables: The parameters that make up each of Keras' variables.
    """

    rule: str
    limit: float
    variables: tuple[tuple[Parameter, ...], ...]

    def __call__(self) -> None:
        """Change the gradients in place."""
        held = [[p.grad for p in each if p.grad is not None] for each in self.variables]
        groups = [each for each in held if each]
        if self.rule == "global_clipnorm":
            groups = [[grad for each in groups for grad in each]] if groups else []
        for grads in groups:
            if self.rule == "clipvalue":
                torch._foreach_clamp_max_(grads, self.limit)
                torch._foreach_clamp_min_(grads, -self.limit)
            else:
                norm = _norm(grads)
                torch._foreach_mul_(grads, self.limit)
                torch._foreach_div_(grads, norm.clamp(min=self.limit))


def _norm(grads: list[Tensor]) -> Tensor:
    return torch.stack([grad.square().sum() for grad in grads]).sum().sqrt()


class KerasOptimizer(Optimizer):
    """What Keras' ``base_optimizer.py`` does around each optimiser's own update."""

    # Tensors kept for each parameter, zero at first, and the option that asks for them.
    slots: tuple[tuple[str, str], ...]
    starts: tuple[tuple[str, str], ...] = ()  # slots that start at an option's value, not at zero
    schedule: Callable[[int], float] | None = None  # the learning rate of each step, from zero
    accumulate: int = 1  # steps of which the last one moves the parameters, by the mean gradient
    clip: Callable[[], None] | None = None  # changes gradients before each step
    constrain: Callable[[], None] | None = None  # changes parameters after each step

    def __init__(
        self, params: ParamsT, lr: float, weight_decay: float, foreach: bool, **options: object
    ) -> None:
        common = {"lr": lr, "weight_decay": weight_decay, "foreach": foreach, "step": 0}
        super().__init__(params, common | options)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles keep: torch's part, and what is done around a step."""
        around = ("schedule", "accumulate", "clip", "constrain")
        return super().__getstate__() | {name: getattr(self, name) for name in around}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Check a group's options and take it in."""
        options = self.defaults | param_group
        if "betas" in options:
            options["betas[0]"], options["betas[1]"] = (*options["betas"], None, None)[:2]
        for name, limit in BELOW.items():
            value = options.get(name, 0.0)
            if not isinstance(value, int | float) or not 0 <= round_to_float32(value) < limit:
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
        if any(p.grad is not None for group in self.param_groups for p in group["params"]):
            if self.schedule is not None:
                for group in self.param_groups:
                    done = group["step"] * self.accumulate + group.get(KEPT, 0)
                    group["lr"] = self.schedule(done)
            if self.accumulate == 1 or self._accumulate():
                self._move()
            if self.constrain is not None:
                self.constrain()
        return loss

    def _accumulate(self) -> bool:
        """Return whether this step moves the parameters; keep its gradients where it does not."""
        for group in self.param_groups:
            kept = group.get(KEPT, 0) + 1
            group[KEPT] = kept % self.accumulate
            self._gather(group)  # so that a state has the same tensors after every step
            for parameter in (p for p in group["params"] if p.grad is not None):
                state = self.state[parameter]
                total = state.setdefault(ACCUMULATED, torch.zeros_like(parameter))
                total += parameter.grad
                if not group[KEPT]:
                    parameter.grad = total / self.accumulate
                    state[ACCUMULATED] = torch.zeros_like(parameter)
        return not self.param_groups[0][KEPT]

    def _move(self) -> None:
        """Move every parameter that has a gradient."""
        if self.clip is not None:
            self.clip()
        work = [(group, columns) for group in self.param_groups for columns in self._gather(group)]
        for group in self.param_groups:
            group["step"] += 1
            self._begin(group)
        for group, columns in work:
            if group["weight_decay"]:
                decay = torch._foreach_mul(columns[0], round_to_float32(group["weight_decay"]))
                torch._foreach_mul_(decay, round_to_float32(group["lr"]))
                torch._foreach_sub_(columns[0], decay)
            self._update(group, columns)

    def _begin(self, group: dict[str, Any]) -> None:
        """Move what belongs to a whole group, before its parameters."""

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
                    start = next((group[key] for slot, key in self.starts if slot == name), 0.0)
                    state[name] = torch.full_like(parameter, round_to_float32(start))
            key = (parameter.device, parameter.dtype) if group["foreach"] else id(parameter)
            row = [parameter, gradient, *(state[name] for name in slots)]
            tables.setdefault(key, []).append(row)
        return [list(zip(*rows, strict=True)) for rows in tables.values()]

    def _update(self, group: dict[str, Any], columns: Columns) -> None:
        raise NotImplementedError
