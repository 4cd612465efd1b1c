"""Our optimisers, by the names that questions have for them; and torch's own, for wrong ports."""

from collections.abc import Callable

import torch
from torch.optim import Optimizer

from grulight.optim import KerasAdam, KerasRMSprop, KerasSGD

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": KerasSGD,
    "momentum": KerasSGD,
    "adam": KerasAdam,
    "rmsprop": KerasRMSprop,
    "adamw": KerasAdam,
    # torch's own, which negative controls take for Keras'
    "torch.adam": lambda params, lr: torch.optim.Adam(params, lr=lr, eps=1e-7),
    "torch.rmsprop": lambda params, lr: torch.optim.RMSprop(params, lr=lr, alpha=0.9, eps=1e-7),
    "torch.adam_l2": lambda params, lr, weight_decay: torch.optim.Adam(
        params, lr=lr, eps=1e-7, weight_decay=weight_decay
    ),
}
