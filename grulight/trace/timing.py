"""How fast a run goes, and which process waits for its data."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torch import distributed

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.runs.metrics_csv import MetricsFile

_EVERY = 60.0  # seconds between lines


class Timing(Callback):
    """Log the speed of each epoch; print a line now and then where no progress bar can be.

    The speed goes to ``timing.csv`` and to TensorBoard; ``metrics.csv`` holds only what two runs
    of the same training have in common.

    Args:
        console: Where lines are printed; None for none.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self._table: MetricsFile | None = None
        self._waited = self._sequences = 0.0
        self._started = self._ended = self._printed = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; an epoch that is resumed has no start of its own."""
        self._begin()
        self._printed = self._started
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                self._table = MetricsFile(logger.path.with_name("timing.csv"))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what waits."""
        self._write()

    def on_exception(self, *args: Any) -> None:
        """Write what waits."""
        self._write()

    def _write(self) -> None:
        if self._table is not None:
            self._table.save()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._begin()

    def _begin(self) -> None:
        self._waited = self._sequences = 0.0
        self._started = self._ended = time.monotonic()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch | Block, batch_idx: int
    ) -> None:
        """Add what the batch was waited for."""
        self._waited += time.monotonic() - self._ended

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch | Block,
        index: int,
    ) -> None:
        """Count the batch, and say where the epoch stands."""
        self._ended = time.monotonic()
        self._sequences += batch.counted
        if self.console is not None and self._ended - self._printed >= _EVERY:
            self._printed = self._ended
            speed = self._sequences * trainer.world_size / (self._ended - self._started)
            self.console.print(
                f"epoch {trainer.current_epoch + 1}: batch {index + 1} of "
                f"{trainer.num_training_batches}, about {speed:,.0f} sequences/s",
                highlight=False,
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's speed and how long each process waited for its data, in seconds."""
        own = self._sequences, self._waited
        everyones = [own]
        if trainer.world_size > 1:
            everyones = [own] * trainer.world_size
            distributed.all_gather_object(everyones, own)
        seconds = time.monotonic() - self._started
        numbers = {
            "seconds": seconds,
            "sequences_per_second": sum(each[0] for each in everyones) / seconds,
        } | {f"data_wait_{rank}": each[1] for rank, each in enumerate(everyones)}
        step = trainer.global_step - 1
        if self._table is not None:
            self._table.log_metrics({"epoch": trainer.current_epoch} | numbers, step)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_metrics(
                    {f"timing/{name}": number for name, number in numbers.items()}, step
                )
