"""Lightning's callback that tells where epochs start."""

from lightning.pytorch import Callback, LightningModule, Trainer
from peer_server import boundary


class EpochBoundary(Callback):
    """Call :func:`peer_server.boundary` on the process that speaks for all."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the epoch before and start this one."""
        if trainer.is_global_zero:
            boundary()
