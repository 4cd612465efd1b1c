"""What a step of training or prediction does with a batch."""

from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from grulight.data.batches import Batch, Batches
from grulight.data.blocks import Block, Blocks
from grulight.data.held import HeldBlock
from grulight.data.on_device import OnDevice, OneByOne, placed
from grulight.model import GRUNet
from grulight.training.compiled_network import worth_threads
from grulight.training.evaluating import EvaluatingModule
from grulight.training.many_steps import (
    execute,
    step_schedulers,
    take_compiled,
    take_one_by_one,
)
from grulight.training.one_by_one import compiled_steps_network, moves_batches
from grulight.training.recordable import records_steps, why_not_recorded
from grulight.training.recorded_steps import StepRecords, Training, take_recorded
from grulight.training.steps_per_execution import batches_per_execution, line_of_steps


class StepsModule(EvaluatingModule):
    """Return what is to be minimised, take the steps of blocks, and predict."""

    def steps_together(self, batches: int) -> int:
        """Return how many of an epoch's batches a training step takes."""
        if self.resumed_steps is not None:
            return self.resumed_steps
        asked = self.hparams["steps_per_execution"]
        return batches_per_execution(self.trainer, self.network, self.head, asked, batches)

    @property
    def line_of_steps(self) -> str | None:
        """A line that says why steps are not taken in compiled calls; None where they are."""
        asked = self.hparams["steps_per_execution"], self.resumed_steps
        return line_of_steps(self.trainer, self.network, self.head, *asked)

    def __init__(self) -> None:
        super().__init__()
        self._records = StepRecords()

    def placed(self, served: Batches | Blocks) -> Batches | Blocks | OneByOne:
        """Return what serves training batches or blocks where steps are taken, if on a GPU."""
        if moves_batches(self.trainer):
            return served
        dtype = next((each.dtype for each in self.network.parameters()), torch.float32)
        return placed(served, self.trainer.strategy.root_device, dtype)

    @property
    def _blocks_on_device(self) -> OnDevice | None:
        """What serves training data on a device; None where they stay."""
        loader = None if self._trainer is None else self._trainer.train_dataloader
        blocks = loader.blocks if isinstance(loader, OneByOne) else loader
        return blocks if isinstance(blocks, OnDevice) else None

    @property
    def line_of_data(self) -> str | None:
        """A line that says where the data are while they train; None where they stay."""
        blocks = self._blocks_on_device
        return None if blocks is None else blocks.line

    def training_step(self, batch: Batch | Block | HeldBlock) -> Tensor | None:
        """Return the loss of a batch; take the steps of a block of them."""
        if isinstance(batch, Block | HeldBlock):
            execute(self.trainer, batch, self._take_steps)
            return None
        return self.evaluate(batch, self.train_means)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, if the losses that nobody has looked at yet are finite.

        Raises:
            InputError: One is not.
        """
        self._records.losses.require_finite(wait=True)
        super().on_train_epoch_end()

    def teardown(self, stage: str) -> None:
        """Let go of what was recorded, and of data that were held for it."""
        self._records.clear()
        if (blocks := self._blocks_on_device) is not None:
            blocks.release()

    def _take_steps(self, block: Block | HeldBlock, count: int) -> None:
        """Take the optimiser steps of the first ``count`` batches of a block."""
        trainer, means = self.trainer, self.train_means
        if self._records_steps_of(block):
            take_recorded(trainer, self._trained, self._records, block, count)
            return
        network = compiled_steps_network(trainer, self.network, self.head)
        if network is None or isinstance(block, HeldBlock) or worth_threads(network, block):
            loss_of = partial(self.evaluate, means=means)
            take_one_by_one(trainer, loss_of, block, count, partial(step_schedulers, trainer))
        else:
            weights = self.loss_weights(block.whole, training=True)
            given = self.standardized, block, weights, count
            take_compiled(trainer, network, self.head, means, *given)

    def _records_steps_of(self, block: Block | HeldBlock) -> bool:
        """Return whether the steps of a block are recorded."""
        trainer, network = self.trainer, self.network
        if not records_steps(trainer) or why_not_recorded(trainer, network) is not None:
            return False
        assert isinstance(network, GRUNet)
        columns = block.whole if isinstance(block, Block) else block.held.columns
        return columns.lengths is None or network.gru.kernel != "torch"  # cuDNN asks the host

    @property
    def _trained(self) -> Training:
        """What a step computes."""
        assert isinstance(self.network, GRUNet)
        weights = partial(self.loss_weights, training=True)
        constants = self.mean, self.scale, self.class_weights
        parts = self.network, self.head, self.train_means, self.standardized, weights
        return Training(*parts, constants)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit gradients; Lightning asks after a block too, which has left none."""
        if any(each.grad is not None for each in self.parameters()):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Return class probabilities (batch, class), or (batch, step, class), or values."""
        values = self.standardized(batch.values)
        if isinstance(self.network, GRUNet):
            return self.head.prediction(self.network(values, batch.lengths))
        return self.network.predictions(values, batch.lengths)
