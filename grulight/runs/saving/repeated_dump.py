"""A checkpoint like the one before: only what an epoch changes is dumped."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loops.loop import _Loop
from lightning.pytorch.loops.progress import _BaseProgress

_KNOWN = ("grulight.", "lightning.")


def only_known(trainer: Trainer) -> bool:
    """Return whether :func:`dump_again` has all that a dump of Lightning's would.

    A callback, a module or a plugin of the user's may put anything into a checkpoint.
    """
    plugin, callbacks = trainer.precision_plugin, trainer.callbacks  # type: ignore[attr-defined]
    data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning adds them in its __init__
    return (
        all(_module(each).startswith("grulight.") for each in (trainer.lightning_module, data))
        and all(_module(each).startswith(_KNOWN) for each in (plugin, *callbacks))
        and all(
            getattr(each.on_save_checkpoint, "__func__", None) is Callback.on_save_checkpoint
            for each in callbacks  # whose own it may be: LambdaCallback's
        )
        and not plugin.state_dict()
    )


def _module(thing: object) -> str:
    return type(thing).__module__


def dump_again(trainer: Trainer, before: dict[str, Any]) -> dict[str, Any]:
    """Return what Lightning would dump now, in a third of the time; the training moves none of it.

    Args:
        trainer: One of which :func:`only_known` holds.
        before: What it has dumped at another epoch of this training.
    """
    module, strategy = trainer.lightning_module, trainer.strategy
    found = {
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "state_dict": strategy.lightning_module_state_dict(),
        "callbacks": {
            each.state_key: state
            for each in trainer.callbacks  # type: ignore[attr-defined]  # as above
            if (state := each.state_dict())
        },
        "optimizer_states": [strategy.optimizer_state(each) for each in trainer.optimizers],
        "lr_schedulers": [each.scheduler.state_dict() for each in trainer.lr_scheduler_configs],
    }
    module.on_save_checkpoint(found)
    loops = before["loops"] | {"fit_loop": progress_of(trainer.fit_loop)}
    return before | copied(found) | {"loops": loops}


def progress_of(loop: _Loop, prefix: str = "") -> dict[str, Any]:
    """Return what ``loop.state_dict()`` does, which takes most of its time in ``asdict``."""
    found: dict[str, Any] = {prefix + "state_dict": loop.on_save_checkpoint()}
    for name, each in vars(loop).items():
        if isinstance(each, _BaseProgress):
            found[prefix + name] = _counts(each)
        elif isinstance(each, _Loop):
            found |= progress_of(each, f"{prefix}{name}.")
    return found


def _counts(progress: _BaseProgress) -> dict[str, Any]:
    return {
        name: _counts(each) if isinstance(each, _BaseProgress) else each
        for name, each in vars(progress).items()
    }


def copied(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint that the training does not go on to move."""
    return {key: _copied(each) for key, each in checkpoint.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return copied(value)
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    return value
