"""What keeps steps from being taken together, and batches from being validated together."""

from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint, Timer
from torch import nn

from grulight.errors import option
from grulight.heads import Head
from grulight.model import GRUNet
from grulight.training import reasons
from grulight.training.compiled_network import trainable, weights_of, why_not_trainable
from grulight.training.compiled_updates import why_not_compiled
from grulight.training.reasons import Reason
from grulight.training.recordable import records_steps, unknown_settings, why_not_recorded

_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_before_zero_grad",
)
_OWN = (
    "training_step",
    "evaluate",
    "answers",
    "optimizer_step",
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
)
_OF_VALIDATION = ("on_validation_batch_start", "on_validation_batch_end")
# a module of the user's, or a data module, may have these
_TRANSFER = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_LIMITS = {"limit_train_batches": 1.0, "val_check_interval": 1.0, "overfit_batches": 0.0}


def why_one_by_one(trainer: Any, network: nn.Module, head: Head) -> Reason | None:
    """Return why steps are not taken in compiled calls where nobody asks; None where they are."""
    return (
        forbidding(trainer)
        or _watching(trainer)
        or why_not_in_compiled_calls(trainer, network, head)
    )


def forbidding(trainer: Any) -> Reason | None:
    """Return what needs every step to be one of Lightning's, if anything does."""
    schedules = [each for each in trainer.lr_scheduler_configs if each.interval == "step"]
    found = {
        reasons.PROCESSES: trainer.world_size > 1,
        reasons.SCALED: trainer.precision == "16-mixed",
        reasons.OPTIMIZERS: len(trainer.optimizers) > 1,
        reasons.SCHEDULED: _has(trainer, GradientAccumulationScheduler),
        reasons.IRREGULAR: any(each.frequency != 1 or each.reduce_on_plateau for each in schedules),
    }
    found |= {
        reasons.LIMIT.of(option(f"trainer.{name}")): not _is_all(getattr(trainer, name), all_)
        for name, all_ in _LIMITS.items()
    }
    return next((reason for reason, holds in found.items() if holds), None)


def _is_all(limit: float, all_: float) -> bool:
    """Return whether a limit leaves all: 1.0 does, but 1 is a single batch."""
    return limit == all_ and (type(limit) is float or not limit)


def _has(trainer: Any, kind: type[Callback]) -> bool:
    return any(isinstance(each, kind) for each in trainer.callbacks)


def _watching(trainer: Any) -> Reason | None:
    """Return who of the user's has to do with single steps, if anybody has."""
    names = (*_HOOKS, *_OWN, *_TRANSFER)
    for own in _modules(trainer):
        if _has_steps_of_its_own(own, names):
            return reasons.MODULE.of(own.__name__)
    watching = [type(each).__name__ for each in trainer.callbacks if _watches(each, _HOOKS)]
    return reasons.CALLBACK.of(watching[0]) if watching else None


def moves_batches(trainer: Any) -> bool:
    """Return whether a module or data module of the user's moves batches to the device."""
    return any(_has_steps_of_its_own(own, _TRANSFER) for own in _modules(trainer))


def _watches(callback: Callback, hooks: tuple[str, ...]) -> bool:
    """Return whether a callback of the user's has hooks that see single steps."""
    if isinstance(callback, Timer):  # --trainer.max_time: it may look between executions
        return False
    if isinstance(callback, ModelCheckpoint):
        return bool(callback._every_n_train_steps or callback._train_time_interval)
    if type(callback).__module__.startswith("grulight."):
        return False
    return any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
        for hook in hooks
    )


def _modules(trainer: Any) -> list[type]:
    """Return the kinds of module and data module, where there is one."""
    data = getattr(trainer, "datamodule", None)
    return [type(trainer.lightning_module), *([] if data is None else [type(data)])]


def _has_steps_of_its_own(own: type, names: tuple[str, ...]) -> bool:
    """Return whether a class of the user's has to do with single steps."""
    if own.__module__.startswith("grulight."):
        return False
    return any(name in vars(each) for each in own.__mro__ if not _is_base(each) for name in names)


def _is_base(kind: type) -> bool:
    return kind.__module__.startswith(("grulight.", "lightning.", "torch."))


def why_not_in_compiled_calls(trainer: Any, network: nn.Module, head: Head) -> Reason | None:
    """Return why no compiled call takes steps with the Trainer's optimiser; None if one does.

    Where steps are recorded, on a GPU, these are the calls.
    """
    if records_steps(trainer):
        return why_not_recorded(trainer, network)
    if found := why_not_trainable(network, head):
        return found
    assert isinstance(network, GRUNet)
    if (found := unknown_settings(trainer, network)) is not None:
        return found
    optimizer = trainer.optimizers[0]
    # who limits or sums gradients first, the Trainer or the optimiser, is not told apart
    beside = trainer.accumulate_grad_batches != 1 or trainer.gradient_clip_val
    if beside and getattr(optimizer, "accumulate", 1) != 1:
        return reasons.TWICE
    return why_not_compiled(optimizer, weights_of(network))


def compiled_steps_network(trainer: Any, network: nn.Module, head: Head) -> GRUNet | None:
    """Return the network if one compiled call can take its steps with the Trainer's optimiser."""
    compiled = why_not_in_compiled_calls(trainer, network, head) is None
    return network if compiled and isinstance(network, GRUNet) else None


def validates_one_by_one(trainer: Any, network: nn.Module, head: Head) -> bool:
    """Return whether validation batches are not read together: a limit counts them, say."""
    names = (*_OF_VALIDATION, *_TRANSFER, "validation_step", "evaluate", "answers")
    return (
        not _is_all(trainer.limit_val_batches, 1.0)
        or trainable(network, head) is None
        or any(_has_steps_of_its_own(own, names) for own in _modules(trainer))
        or any(_watches(each, _OF_VALIDATION) for each in trainer.callbacks)
    )
