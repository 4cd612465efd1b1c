"""Loss and metric of an epoch while it runs, and how they are logged without slowing it."""

import math
import time
from collections.abc import Mapping

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from grulight.heads import Score


class EpochMeans:
    """Running loss and metric of an epoch, as Keras reports them.

    Keras weights the loss of a batch by its sequences and the metric by the answers that count;
    the two differ where answers belong to steps and some of these are padding. The sums stay on
    the device until they are asked for: a ``self.log`` per batch would cost more than the batch.
    They are no buffer, which DDP would overwrite with the first process'.
    """

    def __init__(self) -> None:
        self.sums: Tensor
        self._computed: tuple[Tensor, dict[str, Tensor]] | None = None  # of which sums, and what
        self.reset()

    def update(self, score: Score, sequences: float) -> None:
        """Add a batch, whose loss weighs as much as some sequences."""
        loss = score.loss.detach() * sequences
        numbers = (loss, loss.new_tensor(sequences), score.metric, loss.new_tensor(score.counted))
        # float32 alone would stop counting at 2**24 samples
        wide = _widest(loss.device)
        self.add(torch.stack([number.to(wide) for number in numbers]))

    def add(self, sums: Tensor) -> None:
        """Add the sums of batches, (..., 4), in their order.

        The four are the loss and its weight, the metric and its count.
        """
        self.sums = torch.cat((self.sums.to(sums)[None], sums.view(-1, 4))).cumsum(0)[-1]

    def compute(self, module: LightningModule, metric: str = "accuracy") -> dict[str, Tensor]:
        """Return loss and metric so far, over all processes."""
        if self._computed is None or self._computed[0] is not self.sums:
            sums = self.sums.to(module.device, _widest(module.device), copy=True)
            sums = module.trainer.strategy.reduce(sums, reduce_op="sum")
            self._computed = self.sums, {"loss": sums[0] / sums[1], metric: sums[2] / sums[3]}
        return self._computed[1]

    def reset(self) -> None:
        """Forget all batches."""
        self.sums = torch.zeros(4, dtype=torch.float64)


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


class EpochLog:
    """Hand an epoch's metrics to the loggers, which flush once a second at most.

    Without ``self.log``, which takes half a millisecond for each number.
    """

    def __init__(self) -> None:
        self._flushed = -math.inf  # when the loggers were

    def write(
        self, trainer: Trainer, metrics: Mapping[str, Tensor], step: int, *, ends: bool
    ) -> None:
        """Log metrics of training or validation at a step; what ends an epoch may be flushed."""
        trainer.callback_metrics.update(metrics)
        trainer.logged_metrics.update(metrics)
        row = {name: float(value) for name, value in metrics.items()}
        now = time.monotonic()
        flushes = ends and now - self._flushed >= 1.0
        for logger in trainer.loggers:
            logger.log_metrics(row | {"epoch": trainer.current_epoch}, step)
            if flushes:
                logger.save()
        self._flushed = now if flushes else self._flushed
