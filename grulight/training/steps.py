"""What a step of training or prediction does with a batch."""

from functools import partial

from torch import Tensor
from torch.optim import Optimizer

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.model import GRUNet
from grulight.training.evaluating import EvaluatingModule
from grulight.training.many_steps import (
    execute,
    step_schedulers,
    take_compiled,
    take_one_by_one,
)
from grulight.training.one_by_one import compiled_steps_network
from grulight.training.steps_per_execution import line_of_steps, steps_per_execution


class StepsModule(EvaluatingModule):
    """Return what is to be minimised, take the steps of blocks, and predict."""

    def steps_together(self, batches: int) -> int:
        """Return how many of an epoch's batches a training step takes."""
        if self.resumed_steps is not None:
            return self.resumed_steps
        asked = self.hparams["steps_per_execution"]
        return steps_per_execution(self.trainer, self.network, self.head, asked, batches)

    @property
    def line_of_steps(self) -> str | None:
        """A line that says why steps are not taken in compiled calls; None where they are."""
        asked = self.hparams["steps_per_execution"], self.resumed_steps
        return line_of_steps(self.trainer, self.network, self.head, *asked)

    def training_step(self, batch: Batch | Block) -> Tensor | None:
        """Return the loss of a batch; take the steps of a block of them."""
        if isinstance(batch, Block):
            execute(self.trainer, batch, self._take_steps)
            return None
        return self.evaluate(batch, self.train_means)

    def _take_steps(self, block: Block, count: int) -> None:
        """Take the optimiser steps of the first ``count`` batches of a block."""
        trainer, means = self.trainer, self.train_means
        network = compiled_steps_network(trainer, self.network, self.head)
        if network is None:
            loss_of = partial(self.evaluate, means=means)
            take_one_by_one(trainer, loss_of, block, count, partial(step_schedulers, trainer))
        else:
            weights = self.loss_weights(block.whole, training=True)
            given = self.standardized, block, weights, count
            take_compiled(trainer, network, self.head, means, *given)

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
