"""Which optimisers compiled steps know, and their settings as rows of ``kernels.rules``."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from grulight.kernels import rules
from grulight.kernels.adam import round_to_float32
from grulight.optim import KerasAdam, KerasRMSprop, KerasSGD

Group = Mapping[str, Any]


class Rule(NamedTuple):
    """What compiled steps know of an optimiser.

    Attributes:
        number: Of ``kernels.rules``.
        slots: The moments of a group, in the order of ``State``; empty for none.
        row: Its settings at a step, which is counted from one and may be the first with moments.
    """

    number: int
    slots: Callable[[Group], tuple[str, ...]]
    row: Callable[[Group, int, bool, bool], list[float]]


def _keras_adam(group: Group, step: int, fresh: bool, double: bool) -> list[float]:
    adam = rules.Adam(group["lr"], group["betas"], group["eps"], group["weight_decay"])
    found = rules.keras_adam_row(adam, step, double=double)
    found[rules.FLAG] = group["amsgrad"]
    return found


def _adam(group: Group, step: int, fresh: bool, double: bool) -> list[float]:
    lr, (first, second) = float(group["lr"]), map(float, group["betas"])
    decay, apart = group["weight_decay"], group.get("decoupled_weight_decay", False)
    return rules.row(
        epsilon=group["eps"],
        decay=0.0 if apart else decay,
        shrunk=1 - lr * decay if apart else 1.0,
        kept=second,
        new=1 - first,
        new_square=1 - second,
        step_size=lr / (1 - first**step),
        root=math.sqrt(1 - second**step),
        flag=group["amsgrad"],
    )


def _keras_rmsprop(group: Group, step: int, fresh: bool, double: bool) -> list[float]:
    return _rmsprop(group | {"alpha": group["rho"]}, step, fresh, double)  # type: ignore[operator]


def _rmsprop(group: Group, step: int, fresh: bool, double: bool) -> list[float]:
    rounded = round_to_float32 if "rho" in group else float
    return rules.row(
        rate=rounded(group["lr"]),
        epsilon=group["eps"],
        decay=rounded(group["weight_decay"]),
        kept=group["alpha"],
        new_square=1 - group["alpha"],
        momentum=group["momentum"],
        flag=group["centered"],
    )


def _keras_sgd(group: Group, step: int, fresh: bool, double: bool) -> list[float]:
    names = {"rate": "lr", "decay": "weight_decay", "momentum": "momentum"}
    rounded = {name: round_to_float32(group[key]) for name, key in names.items()}
    return rules.row(flag=group["nesterov"], **rounded)


def _sgd(group: Group, step: int, fresh: bool, double: bool) -> list[float]:
    return rules.row(
        rate=float(group["lr"]),
        decay=group["weight_decay"],
        momentum=group["momentum"],
        new=1.0 if fresh else 1 - group["dampening"],
        flag=group["nesterov"],
    )


def _of_adam(group: Group) -> tuple[str, ...]:
    return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else ""


def _of_rmsprop(group: Group) -> tuple[str, ...]:
    momentum = "velocity" if "rho" in group else "momentum_buffer"
    return (
        "square_avg",
        momentum if group["momentum"] else "",
        "grad_avg" if group["centered"] else "",
    )


def _of_sgd(group: Group) -> tuple[str, ...]:
    if not group["momentum"]:
        return ()
    return ("momentum_buffer" if "dampening" in group else "velocity",)


RULES: dict[type[Optimizer], Rule] = {
    KerasAdam: Rule(rules.KERAS_ADAM, _of_adam, _keras_adam),
    KerasRMSprop: Rule(rules.KERAS_RMSPROP, _of_rmsprop, _keras_rmsprop),
    KerasSGD: Rule(rules.KERAS_SGD, _of_sgd, _keras_sgd),
    Adam: Rule(rules.ADAM, _of_adam, _adam),
    AdamW: Rule(rules.ADAM, _of_adam, _adam),
    RMSprop: Rule(rules.RMSPROP, _of_rmsprop, _rmsprop),
    SGD: Rule(rules.SGD, _of_sgd, _sgd),
}
