"""What keeps steps from being recorded on a GPU."""

from typing import Any

from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn

from grulight.data.serving import ServingDataModule
from grulight.model import GRUNet
from grulight.training import reasons
from grulight.training.capture import CAPTURES
from grulight.training.compiled_network import has_plain_weights, not_a_gru_net, weights_of
from grulight.training.compiled_updates import why_not_compiled
from grulight.training.reasons import Reason


def unknown_settings(trainer: Any, network: GRUNet) -> Reason | None:
    """Return what no call knows of a training's settings, if there is anything."""
    if trainer.precision not in ("32-true", "64-true"):
        return reasons.PRECISION.of(trainer.precision)
    shares = network.gru.dropout, network.dropout.p
    if type(network.dropout) is not nn.Dropout or not all(0 <= each < 1 for each in shares):
        return reasons.DROPOUT
    return None if trainer.optimizers else reasons.EARLY


def records_steps(trainer: Any) -> bool:
    """Return whether steps can be recorded where a Trainer's modules are."""
    strategy = getattr(trainer, "strategy", None)
    return strategy is not None and strategy.root_device.type in CAPTURES


def why_not_recorded(trainer: Any, network: nn.Module) -> Reason | None:
    """Return why steps are not recorded on a device that can; None where they are."""
    if not isinstance(trainer.strategy, SingleDeviceStrategy):  # which others' hooks are not
        return reasons.STRATEGY.of(type(trainer.strategy).__name__)
    if type(network) is not GRUNet:
        return not_a_gru_net(network)
    if not has_plain_weights(network):
        return reasons.WEIGHTS
    if (found := unknown_settings(trainer, network)) is not None:
        return found
    optimizer, gru = trainer.optimizers[0], network.gru
    if trainer.accumulate_grad_batches != 1 or getattr(optimizer, "accumulate", 1) != 1:
        return reasons.ACCUMULATES
    if gru.kernel == "torch":
        if gru.dropout > 0 and gru.num_layers > 1:
            return reasons.CUDNN_DROPOUT
        if _has_lengths(trainer):
            return reasons.LENGTHS
    return why_not_compiled(optimizer, weights_of(network))


def _has_lengths(trainer: Any) -> bool:
    """Return whether sequences that train are of unequal lengths, as far as that is known."""
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, ServingDataModule):
        return False
    train = data.parts.train
    return bool((train.lengths != train.values.shape[1]).any())
