"""What a step of training, validation, test or prediction does with a batch."""

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.logits import predicted_classes
from grulight.model import GRUNet
from grulight.training.epoch_means import EpochMeans
from grulight.training.many_steps import execute, take_compiled, take_one_by_one
from grulight.training.resumable import ResumableModule
from grulight.training.steps_per_execution import compiled_steps_network, steps_per_execution

if TYPE_CHECKING:
    from grulight.keras_files.ported_network import PortedNetwork


class StepsModule(ResumableModule):
    """Answer batches, count how good the answers are, and return what is to be minimised.

    Attributes:
        network: Answers standardised sequences.
        head: What the answers mean.
        mean: (F,) subtracted from raw sequences; None for no standardisation.
        scale: (F,) divided by; None likewise.
    """

    network: "GRUNet | PortedNetwork"
    mean: Tensor | None
    scale: Tensor | None

    def standardized(self, values: Tensor) -> Tensor:
        """Return raw sequences (batch, time, feature) as the network sees them."""
        if self.mean is None or self.scale is None:
            return values
        return (values - self.mean) / self.scale

    def steps_together(self, batches: int) -> int:
        """Return how many of an epoch's batches a training step takes."""
        if self.resumed_steps is not None:
            return self.resumed_steps
        asked = self.hparams["steps_per_execution"]
        return steps_per_execution(self.trainer, self.network, self.head, asked, batches)

    def training_step(self, batch: Batch | Block) -> Tensor | None:
        """Return the loss of a batch; take the steps of a block of them."""
        if isinstance(batch, Block):
            execute(self.trainer, batch, self._take_steps)
            return None
        return self.evaluate(batch, self.train_means)

    def _take_steps(self, block: Block, count: int) -> None:
        """Take the optimiser steps of the first ``count`` batches of a block."""
        [optimizer] = self.trainer.optimizers
        network = compiled_steps_network(self.trainer, self.network, self.head)
        if network is None:
            take_one_by_one(optimizer, partial(self.evaluate, means=self.train_means), block, count)
        else:
            now = self.trainer.current_epoch, self.trainer.global_step
            means, head = self.train_means, self.head
            take_compiled(network, head, optimizer, means, self.standardized, block, count, *now)

    def validation_step(self, batch: Batch) -> None:
        """Count a validation batch."""
        self.evaluate(batch, self.val_means, self.val_confusion, self.val_scores)

    def test_step(self, batch: Batch) -> None:
        """Count a test batch."""
        self.evaluate(batch, self.test_means, self.confusion, self.test_scores)

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Return class probabilities (batch, class), or (batch, step, class), or values."""
        values = self.standardized(batch.values)
        if isinstance(self.network, GRUNet):
            return self.head.prediction(self.network(values, batch.lengths))
        return self.network.predictions(values, batch.lengths)

    def evaluate(
        self,
        batch: Batch,
        means: EpochMeans,
        confusion: MulticlassConfusionMatrix | None = None,
        scores: Metric | None = None,
    ) -> Tensor:
        """Count a batch; return its loss, as this process' part of the mean over processes."""
        assert batch.labels is not None
        answers, valid = self.network.answers(self.standardized(batch.values), batch.lengths)
        score = self.head.score(answers, batch.labels, valid)
        if not isinstance(self.network, GRUNet) and (penalty := self.network.penalty) is not None:
            score = score._replace(loss=score.loss + penalty)
        part = batch.share if valid is None else self.part_of_mean(score.counted, batch)
        if batch.share:
            means.update(score, len(answers) * part / batch.share)
        if confusion is not None or scores is not None:
            _count(batch, answers, valid, confusion, scores)
        return score.loss * part


def _count(
    batch: Batch,
    answers: Tensor,
    valid: Tensor | None,
    confusion: MulticlassConfusionMatrix | None,
    scores: Metric | None,
) -> None:
    """Count a batch's answers in what measures a part as a whole."""
    labels = batch.labels
    assert labels is not None
    if valid is not None:
        answers, labels = answers[valid], labels[valid]
    if not batch.share:  # every process has an entry for each batch, if an empty one
        answers, labels = answers[:0], labels[:0]
    if confusion is not None and len(answers):
        confusion.update(predicted_classes(answers), labels)
    if scores is not None:
        scores.update(answers, labels)
